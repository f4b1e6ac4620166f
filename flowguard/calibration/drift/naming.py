"""What drifted, in a word and a sentence: the channels that moved say which of the possible stories it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flowguard.calibration.drift.channel import FAULTS, Channel

Kind = Literal["context", "season", "column", "conditional", "missing", "stuck", "unseen", "score"]
"""context: other records than before, at once; season: the same, slowly; column: the values of one column by itself;
conditional: a column no longer follows from the rest as it did; missing, stuck, unseen: a fault of a column; score: the
scores moved, and nothing says why."""

COMPARABLE = 0.25
"""Share of the largest effect below which a channel that has not alarmed itself only follows."""


@dataclass(frozen=True)
class Moved:
    """A channel that has moved: `alarm` by its martingale, or else seen to move with one that has.

    `effect` is how far, in standard errors, negative is down; `observed` and `usual` the plain figures of this batch
    and of calibration, NaN where there are none; `detail` the value or level they are about; `batches` since the
    onset.
    """

    channel: Channel
    alarm: bool
    effect: float
    log_martingale: float
    observed: float = math.nan
    usual: float = math.nan
    detail: str = ""
    batches: int = 0


@dataclass(frozen=True)
class Drift:
    """The name of what happened: `columns` is whose, the first the most; `sentence` is for people."""

    kind: Kind
    sentence: str
    columns: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "columns": list(self.columns)}


def name_drift(moved: Sequence[Moved], *, slowly: bool = False) -> Drift:
    """The kind and the sentence of channels that moved together; `slowly`: those of the context did, see `slow`.

    In this order, which is that of how much each says by itself:

    - a fault of a column (unseen levels, one value again and again, missing) that alarmed or moved as far as what did:
      whatever it does to scores and other columns is its consequence;
    - where the context moved, that is what happened (context, or season when slowly), unless the features given their
      context moved as well, which is conditional drift;
    - where a feature's own distribution moved under the same context: column;
    - else a column's conditional distribution alone: conditional; or the score alone: score.

    Raises ValueError when nothing moved.
    """
    largest = max((abs(one.effect) for one in moved), default=0.0)
    if not moved:
        raise ValueError("nothing moved, and has no name")
    strong = [one for one in moved if one.alarm or abs(one.effect) >= COMPARABLE * largest]
    strong.sort(key=lambda one: -abs(one.effect))
    faults = [one for one in strong if one.channel.measure in FAULTS and one.effect > 0]
    if not faults:
        faults = [one for one in strong if one.channel.measure == "missing" and one.alarm]
    contexts = [one for one in strong if one.channel.of_context]
    given = [one for one in strong if one.channel.conditional]
    own = [one for one in strong if one.channel.part == "feature" and one.channel.measure in ("level", "mix")]
    if faults:
        return _fault(faults[0])
    if contexts and given:
        return _conditional(given, contexts)
    if contexts:
        return _context(contexts, slowly)
    if own:
        return _column(own)
    if any(one.channel.part == "conditional" for one in given):
        return _conditional(given, [])
    return _score(strong)


def _fault(one: Moved) -> Drift:
    name, now, before = one.channel.column, percent(one.observed), percent(one.usual)
    if one.channel.measure == "missing":
        more = "more" if one.effect > 0 else "less"
        text = f"{name} is missing {more} often than before: {now} instead of {before}"
        return Drift("missing", text, (name,))
    if one.channel.measure == "unseen":
        text = f"{name} has levels never seen at calibration in {now} of the records"
        return Drift("unseen", text + (f", most often {one.detail!r}" if one.detail else ""), (name,))
    text = f"{name} stands still: {now} of the records have the value {one.detail}"
    usual = "no value came twice before" if one.usual == 0 else f"the commonest value had {before} before"
    return Drift("stuck", f"{text}; {usual}", (name,))


def _context(contexts: Sequence[Moved], slowly: bool) -> Drift:
    what = "; ".join(_how(one) for one in contexts[:2])
    if slowly:
        text = f"the contexts move slowly, as a season does: {what}; given their context the records are as before"
        return Drift("season", text, _names(contexts))
    text = f"other contexts than before: {what}; given their context the records are as before"
    return Drift("context", text, _names(contexts))


def _column(own: Sequence[Moved]) -> Drift:
    more = len(own) - 1
    others = f"; so have {more} more columns" if more > 1 else f"; so has {own[1].channel.column}" if more else ""
    return Drift("column", f"{_how(own[0])}, in the same contexts{others}", _names(own))


def _conditional(given: Sequence[Moved], contexts: Sequence[Moved]) -> Drift:
    names = _names([one for one in given if one.channel.part == "conditional"])
    who = f"{names[0]} no longer follows" if names else "the features no longer follow"
    text = f"{who} from the rest of the record as before"
    if contexts:
        text += f"; the contexts have changed too, which does not explain it: {_how(contexts[0])}"
    return Drift("conditional", text, names)


def _score(strong: Sequence[Moved]) -> Drift:
    level = next((one for one in strong if one.channel.measure == "level"), None)
    if level is None:
        text = "scores are spread otherwise than before"
    else:
        text = f"records are {'stranger' if level.effect > 0 else 'more ordinary'} than before"
        if not math.isnan(level.observed):
            text += f": {percent(level.observed)} of them lie in what was the strangest {percent(level.usual)}"
    return Drift("score", f"{text}; no column says why")


def _how(one: Moved) -> str:
    """`dep_delay is higher than before: median 12 instead of 3`."""
    name = one.channel.column or "the groups"
    if one.channel.measure == "mix":
        if not one.detail:
            return f"{name}: rare levels make up {percent(one.observed)} instead of {percent(one.usual)}"
        return f"{name} is {one.detail!r} in {percent(one.observed)} of the records instead of {percent(one.usual)}"
    direction = "higher" if one.effect > 0 else "lower"
    text = f"{name} is {direction} than before"
    # A median among atoms may stay where it was.
    if math.isnan(one.observed) or math.isnan(one.usual) or one.observed == one.usual:
        return text
    return f"{text}: median {one.observed:.4g} instead of {one.usual:.4g}"


def _names(moved: Sequence[Moved]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.channel.column for one in moved if one.channel.column))


def percent(share: float) -> str:
    """
    >>> percent(0.123), percent(0.0123), percent(1.0), percent(0.00001)
    ('12 %', '1.2 %', '100 %', 'under 0.01 %')
    """
    if math.isnan(share):
        return "an unknown share"
    if 0 < share < 0.0001:
        return "under 0.01 %"
    return f"{100 * share:.2g} %" if share < 0.0995 else f"{100 * share:.0f} %"
