"""What the gate found: its checks, the outcome, and how a registered version carries both in its tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flowguard.registry import Version

Answer = Literal["passed", "failed", "unknown", "told"]
"""unknown: the records at hand cannot say. told: a figure that nothing depends on."""
Outcome = Literal["passed", "failed", "undecided"]

TAG = "gate"
NAMES = ("scores", "rate", "likelihood", "verdicts", "batch")
"""The checks, in order; each has a tag `gate.<name>`."""
GATE = "gate"
"""Who the journal names where the gate promoted."""


@dataclass(frozen=True)
class Check:
    """One check: its answer, and a sentence that says why. `figure` is what was found, `limit` what is still right."""

    name: str
    answer: Answer
    sentence: str
    figure: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Gated:
    """What a version showed beside `champion`, which is None where there was none to compare with.

    `promoted`: the gate made it the champion. `note` says what follows, or what hindered it.
    """

    version: Version
    champion: int | None
    outcome: Outcome
    checks: tuple[Check, ...]
    promoted: bool = False
    note: str = ""

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [one.name for one in self.checks if one.answer == "failed"]

    @property
    def sentence(self) -> str:
        """All of it in a sentence or two."""
        against = f" against version {self.champion}" if self.champion is not None else ""
        said = {
            "passed": f"{_named(self.version)} passed the gate{against}.",
            "failed": f"{_named(self.version)} failed the gate{against}: {sentences(self.checks)}",
            "undecided": f"The gate cannot decide on {_named(self.version)}{against}.",
        }[self.outcome]
        silent = [one.name for one in self.checks if one.answer == "unknown"]
        return f"{said} Nothing can be said of: {', '.join(silent)}." if silent else said


@dataclass(frozen=True)
class Recorded:
    """What the tags of a version say of its gate: `champion` is whom it was compared with, `at` when."""

    outcome: Outcome
    champion: int | None
    at: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [one.name for one in self.checks if one.answer == "failed"]


def outcome_of(checks: Sequence[Check], needs: Sequence[str]) -> Outcome:
    """Failed where a check did; passed where those that are needed passed, what is scored at all among them.

    >>> rate, verdicts = Check("rate", "passed", "It holds."), Check("verdicts", "unknown", "There are none.")
    >>> scores = Check("scores", "passed", "All are.")
    >>> outcome_of([scores, rate, verdicts], ["rate"]), outcome_of([scores, rate, verdicts], ["rate", "verdicts"])
    ('passed', 'undecided')
    """
    answers = {one.name: one.answer for one in checks}
    if "failed" in answers.values():
        return "failed"
    return "passed" if all(answers.get(name) == "passed" for name in ("scores", *needs)) else "undecided"


def sentences(checks: Sequence[Check]) -> str:
    """The sentences of the checks that failed."""
    return " ".join(one.sentence for one in checks if one.answer == "failed")


def tags_of(gated: Gated, *, at: str) -> dict[str, str | None]:
    """The tags that a version gets; None removes what an earlier gate left."""
    checks = {one.name: f"{one.answer}: {one.sentence}" for one in gated.checks}
    champion = None if gated.champion is None else str(gated.champion)
    return {
        TAG: gated.outcome,
        f"{TAG}.champion": champion,
        f"{TAG}.at": at,
        **{f"{TAG}.{name}": checks.get(name) for name in NAMES},
    }


def recorded(tags: Mapping[str, str]) -> Recorded | None:
    """What the tags of a version say; None where its gate was never evaluated."""
    outcome = next((one for one in get_args(Outcome) if one == tags.get(TAG)), None)
    if outcome is None:
        return None
    checks = []
    for name in NAMES:
        answer, _, sentence = tags.get(f"{TAG}.{name}", "").partition(": ")
        checks += [Check(name, known, sentence) for known in get_args(Answer) if known == answer]
    champion = tags.get(f"{TAG}.champion", "")
    return Recorded(outcome, int(champion) if champion.isdigit() else None, tags.get(f"{TAG}.at", ""), tuple(checks))


def _named(version: Version) -> str:
    return f"{version.name} version {version.version}"
