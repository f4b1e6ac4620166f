"""What the page of a version is made from: plain frozen values, no registry, no files, no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowguard.explain.words import number
from flowguard.reports.page import BatchSummary, RateLine, _relative
from flowguard.reports.sentences import count, rate
from flowguard.reports.version import CalibrationCurve


@dataclass(frozen=True)
class CellLine:
    """The calibration of a cell: `size` reference records, the score above which a record is flagged, its tail.

    `threshold` is NaN under policies that flag by the whole batch; `holdout` is the check on the cell's own records.
    """

    name: str
    size: int
    threshold: float
    holdout: RateLine | None = None
    tail: str = ""


@dataclass(frozen=True)
class AliasLine:
    """A change of an alias; no version (None) is an alias not set."""

    alias: str
    before: int | None
    after: int | None
    who: str
    why: str
    at: str


@dataclass(frozen=True)
class EstimateLine:
    """What verdicts say: an estimated share in words with its interval, from so many decided records."""

    name: str
    words: str
    of: str
    decided: int


@dataclass(frozen=True)
class GateLine:
    """One check of the gate: passed, failed, unknown (its records cannot say), told (nothing depends on it)."""

    name: str
    answer: str
    words: str

    @property
    def said(self) -> str:
        """The answer as people read it."""
        return {"unknown": "cannot say", "told": "for information"}.get(self.answer, self.answer)


@dataclass(frozen=True)
class VersionReport:
    """One model version.

    `version` is its number, "" where the registry has not given it one yet. `settings` are those of the model, `kept`
    the epochs of its weights, by part; `split` and `provenance` are facts by name, in order. `rows` and `units` of
    `unit` were held out for the calibration, of which `curve` has the reference, between the `dates` where its records
    have days. `left_out` and `recalibrated` say in a sentence what it was made without, and from which version's
    weights; "" for nothing. `batches` are those that it scored, `batches_href` leads to the records that it flagged;
    `estimates` are what verdicts say of it. `gate` is the outcome of its gate, "" where that was never evaluated,
    `gate_note` says beside whom and when, and `gate_lines` has the checks.

    Raises ValueError for a link that is no relative path.
    """

    pipeline: str
    version: str
    digest: str
    family: str
    score: str
    policy: str
    asked_rate: float
    curve: CalibrationCurve
    cells: Sequence[CellLine]
    rows: int
    units: int
    unit: str = "day"
    measure: str = ""
    created: str = ""
    made_at: str = ""
    aliases: Sequence[str] = ()
    features: Sequence[str] = ()
    given: Sequence[str] = ()
    settings: Sequence[tuple[str, object]] = ()
    history: Sequence[Mapping[str, Any]] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    holdout_log_likelihood: float = math.nan
    holdout: RateLine | None = None
    dates: tuple[str, str] | None = None
    records: Mapping[str, int] = field(default_factory=dict)
    split: Sequence[tuple[str, object]] = ()
    provenance: Sequence[tuple[str, object]] = ()
    left_out: str = ""
    recalibrated: str = ""
    batches: Sequence[BatchSummary] = ()
    estimates: Sequence[EstimateLine] = ()
    changes: Sequence[AliasLine] = ()
    gate: str = ""
    gate_note: str = ""
    gate_lines: Sequence[GateLine] = ()
    run_href: str = ""
    drift_href: str = ""
    batches_href: str = ""

    def __post_init__(self) -> None:
        _relative(self.run_href, self.drift_href, self.batches_href)

    @property
    def name(self) -> str:
        """What it is called: by its number, else by its bundle."""
        return f"version {self.version}" if self.version else f"bundle {self.digest[:12]}"

    @property
    def flagged(self) -> int:
        """Records that it flagged in the batches that it scored."""
        return sum(batch.flagged for batch in self.batches)


def on_version(report: VersionReport) -> str:
    """The version in two or three sentences: what it is, how likely it finds new records, what it keeps of its promise.

    >>> import numpy as np
    >>> curve = CalibrationCurve(np.array([1.0, 2.0]), np.array([1.0, 0.5]), 2, 0.01, 1.5)
    >>> on_version(VersionReport("meters", "1", "ab", "maf", "mixed", "budget 5", math.nan, curve, (), 2, 1))
    'A maf model that flags by budget 5.'
    """
    said = [f"A {report.family} model that flags by {report.policy}."]
    if math.isfinite(report.holdout_log_likelihood):
        said.append(
            f"Records that it was neither trained nor calibrated on have a mean log-likelihood of "
            f"{number(float(f'{report.holdout_log_likelihood:.4g}'))} nats."
        )
    held = report.holdout
    if held is not None and held.scored:
        said.append(f"Of {count(held.scored, 'such record')} it flags {rate(held.observed)}; {rate(held.asked)} asked.")
    return " ".join(said)
