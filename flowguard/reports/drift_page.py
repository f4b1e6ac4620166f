"""What the drift page of a version is made from, and what it says: plain frozen values, no files, no store."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.drift.channel import Channel
from flowguard.explain.words import number, percent, visible
from flowguard.reports.page import _relative
from flowguard.reports.sentences import count

if TYPE_CHECKING:
    from flowguard.calibration.drift import Drift, DriftRecord

#: Longer sentences are cut: a column's name or a level may be of any length.
LONGEST = 400

#: Channels named beside one alarm; the rest is counted.
MOST_NAMED = 6

_LOG_10 = math.log(10.0)
_FARTHEST = 300.0  # powers of ten beyond which evidence is drawn no higher

_NAMES = {
    "context": "other contexts",
    "season": "season",
    "column": "column",
    "conditional": "conditional",
    "missing": "missing",
    "stuck": "stuck",
    "unseen": "unseen levels",
    "score": "scores",
}
_MEASURES = {
    "level": "how high",
    "spread": "how far apart",
    "mix": "which levels",
    "missing": "how often missing",
    "unseen": "levels never seen",
    "repeats": "one value again and again",
}
_WITHOUT_VALUES = {
    "context": "other contexts than before; given their context the records are as before",
    "season": "the contexts move slowly, as a season does; given their context the records are as before",
    "column": "{} has other values than before, in the same contexts",
    "conditional": "{} no longer follows from the rest of the record as before",
    "missing": "{} is missing more or less often than before",
    "stuck": "{} stands still",
    "unseen": "{} has levels never seen at calibration",
    "score": "scores are other than before",
}


@dataclass(frozen=True)
class DriftReport:
    """The batches that one version has observed, in that order; `hrefs` has the relative link of a batch's page.

    Values of the columns in `redact` are on no page: a sentence that could hold one is said without. Groups are values
    too, of `group_columns`: where one of those is redacted, or it is not said which they are, groups have no names.

    Raises ValueError for a link that is no relative path.
    """

    pipeline: str
    version: str
    made_at: str
    records: Sequence[DriftRecord]
    redact: Sequence[str] = ()
    run_href: str = ""
    hrefs: Mapping[str, str] = field(default_factory=dict)
    group_columns: Sequence[str] = ()

    def __post_init__(self) -> None:
        _relative(self.run_href, *self.hrefs.values())

    @property
    def alarms(self) -> list[DriftRecord]:
        return [record for record in self.records if record.alarms]

    @property
    def odd(self) -> list[DriftRecord]:
        """Batches that were flagged by themselves."""
        return [record for record in self.records if record.flagged]

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """The keys of all channels watched."""
        return tuple(dict.fromkeys(key for record in self.records for key in record.log_martingales))

    @cached_property
    def evidence(self) -> NDArray[np.float64]:
        """log10 of the martingales, (batches, channels); NaN where a batch has none."""
        place = {key: k for k, key in enumerate(self.channels)}
        logs = np.full((len(self.records), len(place)), np.nan)
        for row, record in zip(logs, self.records):
            for key, value in record.log_martingales.items():
                row[place[key]] = value
        return np.clip(logs / _LOG_10, -_FARTHEST, _FARTHEST)

    @property
    def threshold(self) -> float:
        """The log10 martingale of an alarm, as of the last batch; NaN without one."""
        known = [record.threshold for record in self.records if math.isfinite(record.threshold)]
        return known[-1] / _LOG_10 if known else math.nan

    @property
    def chance(self) -> float:
        """P(any alarm, ever) on unchanged data that the threshold promises; NaN where it is not known."""
        chance = len(self.channels) * 10.0**-self.threshold if math.isfinite(self.threshold) else math.nan
        return chance if 0 < chance < 1 else math.nan

    @cached_property
    def names_groups(self) -> bool:
        """Whether the names of groups may be shown."""
        return not self.redact or (bool(self.group_columns) and not set(self.redact) & set(self.group_columns))

    @cached_property
    def missing(self) -> dict[str, NDArray[np.float64]]:
        """The missing share of each column over the batches."""
        return _over([record.missing for record in self.records])

    @cached_property
    def unseen(self) -> dict[str, NDArray[np.float64]]:
        """The share of never seen levels of each column over the batches."""
        return _over([record.unseen for record in self.records])

    @cached_property
    def groups(self) -> dict[str, NDArray[np.float64]]:
        """The share of each group over the batches; none where there is only one."""
        shares = _over([record.groups or {} for record in self.records])
        there = {name: values for name, values in shares.items() if np.nanmax(values, initial=0.0) > 0}
        return there if len(there) > 1 else {}


def differing(shares: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """The names whose shares ever differ, those that differ most first."""
    ranges = {name: _range(values) for name, values in shares.items()}
    return sorted((name for name, width in ranges.items() if width > 0), key=lambda name: -ranges[name])


def on_drift(report: DriftReport) -> str:
    """The version in a sentence or two: the latest alarm, or that there is none."""
    batches = count(len(report.records), "batch")
    if not report.records:
        return "No batch has been observed yet."
    odd = len(report.odd)
    beside = f"{count(odd, 'batch')} {'is' if odd == 1 else 'are'} odd by {'itself' if odd == 1 else 'themselves'}."
    alarms = report.alarms
    if not alarms:
        return f"No alarm in {batches}." + (f" {beside}" if odd else "")
    last = alarms[-1]
    after = len(report.records) - 1 - max(i for i, record in enumerate(report.records) if record is last)
    when = f"the alarm came with {_name(last.batch)}"
    when += f", {count(after, 'batch')} ago" if after else ", the last batch"
    also = f" It is the last of {count(len(alarms), 'alarm')} in {batches}." if len(alarms) > 1 else ""
    return f"{_said(last, report)}; {when}.{also}"


def drift_in_a_line(report: DriftReport) -> str:
    """What the page of a run says of drift: that there was no alarm, or what the latest is about."""
    batches = count(len(report.records), "batch")
    if not report.alarms:
        return f"No drift alarm in {batches}."
    last = report.alarms[-1]
    which = f", the last of {len(report.alarms):,} in {batches}" if len(report.alarms) > 1 else f", of {batches}"
    return f"Drift alarm with {_name(last.batch)}{which}: {_said(last, report)}."


def on_alarm(record: DriftRecord, report: DriftReport) -> str:
    """What an alarm is about, as a sentence without its full stop."""
    return _said(record, report)


def kind(drift: Drift | None) -> str:
    """What an alarm is named, in a word or two."""
    return "no name" if drift is None else _NAMES.get(drift.kind, visible(str(drift.kind))[:40])


def channel_words(key: str) -> str:
    """A channel in plain words.

    >>> channel_words("feature/missing/dep_delay"), channel_words("score/level/")
    ('dep_delay: how often missing', 'scores: how high')
    >>> channel_words("conditional/spread/dep_delay"), channel_words("group/mix/")
    ('dep_delay given the rest: how far apart', 'groups: which ones')
    """
    try:
        channel = Channel.from_key(key)
    except ValueError:
        return _name(key)
    if channel.part == "group":
        return "groups: which ones"
    who = "scores" if channel.part == "score" else _name(channel.column)
    given = " given the rest" if channel.part == "conditional" else ""
    return f"{who}{given}: {_MEASURES[channel.measure]}"


def channels_in_words(keys: Sequence[str]) -> list[str]:
    """At most a few channels in plain words, and how many more."""
    words = [channel_words(key) for key in keys[:MOST_NAMED]]
    return [*words, f"{len(keys) - MOST_NAMED:,} more"] if len(keys) > MOST_NAMED else words


def multiple(ratio: float) -> str:
    """Evidence over what an alarm takes; below 1 there is none.

    >>> multiple(2.34), multiple(0.031), multiple(1e-9), multiple(4e12), multiple(float("nan"))
    ('2.3 times', '0.031 times', 'under 0.001 times', 'over a million times', '–')
    """
    if math.isnan(ratio):
        return "–"
    if ratio < 0.001:
        return "under 0.001 times"
    if ratio >= 1e6:
        return "over a million times"
    return f"{number(float(f'{ratio:.2g}'))} times"


def peak(report: DriftReport, key: str) -> str:
    """The highest evidence of a channel ever, and when."""
    values = report.evidence[:, report.channels.index(key)]
    if not np.isfinite(values).any():
        return "no evidence"
    place = int(np.nanargmax(values))
    ratio = 10.0 ** min(_FARTHEST, float(values[place]) - report.threshold)
    size = "under 0.001" if ratio < 0.001 else multiple(ratio).removesuffix(" times")
    return f"peak {size} × threshold, {_name(report.records[place].batch)}"


def between(values: NDArray[np.float64]) -> str:
    """How far shares range, and where they ended.

    >>> between(np.array([0.02, np.nan, 0.12]))
    '2 % to 12 %, last 12 %'
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return "not known"
    return f"{percent(float(known.min()))} to {percent(float(known.max()))}, last {percent(float(known[-1]))}"


def _said(record: DriftRecord, report: DriftReport) -> str:
    drift = record.drift
    if drift is None:
        return f"Something changed: {'; '.join(channels_in_words(record.alarms))}"
    text = without_values(drift) if _hidden(drift, report) else drift.sentence
    text = visible(text[:LONGEST]) + ("…" if len(text) > LONGEST else "")
    begins_with_a_name = any(name and text.startswith(visible(name)) for name in drift.columns)
    return text if begins_with_a_name else text[:1].upper() + text[1:]


def _hidden(drift: Drift, report: DriftReport) -> bool:
    # In a sentence the column stands before its value, and "the groups" before the name of a group.
    named = any(name in drift.sentence or name in drift.columns for name in report.redact)
    return named or (not report.names_groups and "the groups" in drift.sentence)


def without_values(drift: Drift) -> str:
    """The sentence without any value that it holds.

    >>> from flowguard.calibration.drift import Drift
    >>> without_values(Drift("stuck", "pay stands still: 90 % of the records have the value 4711", ("pay",)))
    'pay stands still (its values are redacted)'
    """
    who = drift.columns[0] if drift.columns else "the record"
    said = _WITHOUT_VALUES.get(drift.kind, "something changed").replace("{}", who)
    return f"{said} ({'its' if '{}' in _WITHOUT_VALUES.get(drift.kind, '') else 'their'} values are redacted)"


def _name(text: str) -> str:
    return visible(text[:60]) + ("…" if len(text) > 60 else "")


def _over(shares: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    names: Iterable[str] = dict.fromkeys(name for one in shares for name in one)
    over = {name: np.array([one.get(name, math.nan) for one in shares], dtype=np.float64) for name in names}
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in over.items()}


def _range(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.ptp(known)) if len(known) else 0.0
