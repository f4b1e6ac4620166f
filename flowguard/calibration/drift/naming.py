"""What drifted, in a word and a sentence: the channels that moved say which of the possible stories it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from flowguard.calibration.drift.channel import FAULTS, Channel, Measure

Kind = Literal["context", "season", "column", "conditional", "missing", "stuck", "unseen", "score"]
"""context: other records than before, at once; season: the same, slowly; column: the values of one column by itself;
conditional: a column no longer follows from the rest as it did; missing, stuck, unseen: a fault of a column; score: the
scores moved, and nothing says why."""

COMPARABLE = 0.25
"""Share of the largest effect below which a channel that has not alarmed itself only follows."""

TIMES = 1.5
POINTS: Mapping[Measure, float] = {"unseen": 0.005, "missing": 0.02, "repeats": 0.05}
REAL = 3.0
"""How far a share has to be from the usual one to be the fault that is named: its factor, its difference, and the
standard errors, one-sided, by which the batches since the onset, taken together, differ from those before.

An alarm finds any change, given batches enough, and a fault is named before whatever else moved, as its cause: it has
to be large enough to be one. A level never seen is news at 1 record in 200. What is missing depends on which records
there are, and doubles from 1.3 % to 2.6 % with another timetable; it moves little else below 2 points. Numbers on a
lattice (minutes of a timetable) repeat now this value and now that; one sensor of 20 that stands still is 5 points.
3 standard errors are a chance of 1 in 700.
"""


@dataclass(frozen=True)
class Moved:
    """A channel that has moved: `alarm` by its martingale, or else seen to move with one that has.

    `effect` is how far, in standard errors, negative is down; `observed` and `usual` the plain figures of the batches
    since the onset and of calibration, NaN where there are none; `detail` the value or level they are about; `batches`
    since the onset. `above` is how far these lie above the usual in standard errors, NaN where only `effect` says;
    `recent` an alarm of a batch before this one.
    """

    channel: Channel
    alarm: bool
    effect: float
    log_martingale: float
    observed: float = math.nan
    usual: float = math.nan
    detail: str = ""
    batches: int = 0
    above: float = math.nan
    recent: bool = False

    @property
    def changed(self) -> int:
        """1 for a share that is really and relevantly above the usual one, -1 for below, 0 for neither."""
        sure = self.effect if math.isnan(self.above) else self.above
        least = POINTS.get(self.channel.measure, math.inf)
        # Not so of NaN either.
        if not abs(self.observed - self.usual) >= least:
            return 0
        low, high = sorted((self.observed, self.usual))
        direction = 1 if self.observed > self.usual else -1
        return direction if high >= TIMES * low and direction * sure >= REAL else 0


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

    - a fault of a column (unseen levels, one value again and again, missing) that alarmed or moved as far as what did,
      and whose share is really and relevantly above the usual one: whatever it does to scores and other columns is its
      consequence; after that a column that alarmed as it is missing relevantly less often;
    - where the context moved, that is what happened (context, or season when slowly), unless the features given their
      context moved as well, which is conditional drift;
    - where a feature's own distribution moved under the same context: column;
    - else a column's conditional distribution alone: conditional; or the score alone: score;
    - where nothing moved but a share that is not enough of a fault: column, with that share.

    Raises ValueError when nothing moved.
    """
    largest = max((abs(one.effect) for one in moved), default=0.0)
    if not moved:
        raise ValueError("nothing moved, and has no name")
    strong = [one for one in moved if one.alarm or abs(one.effect) >= COMPARABLE * largest]
    strong.sort(key=lambda one: -abs(one.effect))
    shares = [one for one in strong if one.channel.measure in FAULTS]
    faults = [one for one in shares if one.changed > 0]
    if not faults:
        faults = [one for one in shares if one.channel.measure == "missing" and one.alarm and one.changed < 0]
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
    shares.sort(key=lambda one: one.recent)
    return _score(strong, shares) if given else _share(shares[0])


def _fault(one: Moved) -> Drift:
    name, now = one.channel.column, percent(one.observed)
    if one.channel.measure == "unseen":
        return Drift("unseen", _unseen(one), (name,))
    if one.channel.measure == "missing":
        more = "more" if one.changed > 0 else "less"
        text = f"{name} is missing {more} often than before: {now} instead of {percent(one.usual)}"
        return Drift("missing", text, (name,))
    text = f"{name} stands still: {now} of the records have the value {one.detail}"
    before = "which did not repeat before" if one.usual == 0 else f"{percent(one.usual)} before"
    return Drift("stuck", f"{text}, {before}", (name,))


def _share(one: Moved) -> Drift:
    """A share that moved, but not so far that it would be a fault."""
    return Drift("column", _little(one), (one.channel.column,))


def _little(one: Moved) -> str:
    name, now, before = one.channel.column, percent(one.observed), percent(one.usual)
    if one.channel.measure == "unseen":
        return _unseen(one)
    if one.channel.measure == "repeats":
        what = f"{now} of the records have the value {one.detail}, {before} before"
        return f"{name} repeats other values than before: {what}"
    if now == before or math.isnan(one.observed) or math.isnan(one.usual):
        return f"{name} is missing in other batches than before, in all as often"
    more = "more" if one.observed > one.usual else "less"
    return f"{name} is missing a little {more} often than before: {now} instead of {before}"


def _unseen(one: Moved) -> str:
    text = f"{one.channel.column} has levels never seen at calibration in {percent(one.observed)} of the records"
    return text + (f", most often {one.detail!r}" if one.detail else "")


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


def _score(strong: Sequence[Moved], shares: Sequence[Moved]) -> Drift:
    level = next((one for one in strong if one.channel.measure == "level"), None)
    if level is None:
        text = "scores are spread otherwise than before"
    else:
        text = f"records are {'stranger' if level.effect > 0 else 'more ordinary'} than before"
        if (level.observed - level.usual) * level.effect > 0:
            text += f": {percent(level.observed)} of them lie in what was the strangest {percent(level.usual)}"
    if shares:
        return Drift("score", f"{text}; beside that, {_little(shares[0])}", (shares[0].channel.column,))
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
    # A median among atoms may stay where it was, or turn.
    if not (one.observed - one.usual) * one.effect > 0:
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
