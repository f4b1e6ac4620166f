"""The section `promote`: what a new version must show before it may score, and who lets it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from flowguard.spec.section import Section, distinct

Needed = Literal["rate", "likelihood", "verdicts"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class PromoteSection(Section):
    """What a new version must show before it may score (the gate), and who lets it."""

    by: Literal["person", "gate"] = "person"
    """person: the gate is evaluated and shown, and a person promotes. gate: a challenger that a training or a
    recalibration makes scores from the next run on if it passes."""
    level: float = Field(default=0.01, ge=1e-6, le=0.2)
    """The chance that a check fails a version that is as it should be; every check is a one-sided test."""
    nats: float = Field(default=0.05, ge=0, le=100)
    """So much less likely, in nats per held-out record, a version may find records than the champion does: at 0.05 a
    typical record has 95 % of the density that it had."""
    auroc: float = Field(default=0.02, ge=0, le=0.5)
    """So much less often a version may rank a confirmed anomaly above an ordinary record than the champion does."""
    needs: Annotated[
        tuple[Needed, ...],
        Field(strict=False),
        BeforeValidator(_listed, json_schema_input_type=Needed | list[Needed]),
        AfterValidator(distinct),
    ] = ("rate",)
    """The checks of which it is not enough that they do not fail: where one of these cannot say, the gate stays
    undecided and promotes nothing."""
