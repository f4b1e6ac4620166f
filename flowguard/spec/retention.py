"""Retention: how long what scoring, reports and trainings leave behind is kept."""

from __future__ import annotations

from pydantic import Field

from flowguard.spec.section import Section


class RetentionSection(Section):
    """How long what runs leave is kept by `flowguard prune`; what is left out here is kept for ever."""

    scores: int | None = Field(default=None, ge=1, examples=[400])
    """Days after a batch was scored, from which on its scores, reasons and quarantine go. That it was scored stays
    known, so that it is not scored again. A batch with a verdict is kept, and one that a rolling calibration needs."""
    reports: int | None = Field(default=None, ge=1, examples=[90])
    """Days after a page was written, from which on it goes; `flowguard report` writes it again."""
    versions: int | None = Field(default=None, ge=1, examples=[10])
    """So many versions, the newest, are kept; older ones go unless an alias, a batch, a verdict or another version
    refers to them."""
    review: int | None = Field(default=None, ge=1, examples=[400])
    """Days after a batch was scored, from which on it leaves the queue of the desk, decided or not. Verdicts stay for
    ever."""

    @property
    def asked(self) -> dict[str, int]:
        """What the file says, by key; empty where everything is kept."""
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def words(self, key: str) -> str:
        """One rule as the file has it.

        >>> RetentionSection(scores=400).words("scores")
        'retention.scores: 400'
        """
        return f"retention.{key}: {self.asked[key]}"
