"""What a page is made from: plain frozen values, no files, no registry, no tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from flowguard.explain.reason import Reason


def href(path: str) -> str:
    """A relative link to a file beside or below the page; names may hold anything.

    >>> href("batches/2013-05-25 #1.html")
    'batches/2013-05-25%20%231.html'
    """
    return quote(path)


def _relative(*links: str) -> None:
    # A page must work from any folder, and a link must never be able to carry a script.
    for link in links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or link.startswith("/"):
            raise ValueError(f"a page's links are relative paths, made by href(); not {link!r}")


@dataclass(frozen=True)
class FlaggedRecord:
    """A flagged record as a page shows it; `key` and `values` map column names to anything that prints."""

    record_id: str
    key: Mapping[str, object]
    log_likelihood: float
    score: float
    p_value: float
    reasons: Sequence[Reason] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    batch: str = ""
    href: str = ""
    extrapolated: bool = False  # whether a model of the tail gave the p-value

    def __post_init__(self) -> None:
        _relative(self.href)


@dataclass(frozen=True)
class ScoreHistogram:
    """Shares of records per score bin: `edges` ``(b + 1,)``, `batch` and `reference` ``(b,)``.

    Scores outside the edges are counted in `batch_above` and `reference_above` (records), never dropped
    silently; `highest` is the batch's highest score. Made by `flowguard.reports.histogram.score_histogram`.
    """

    edges: NDArray[np.float64]
    batch: NDArray[np.float64]
    reference: NDArray[np.float64]
    batch_above: int
    reference_above: int
    highest: float


@dataclass(frozen=True)
class CaseLine:
    """A case as a page shows it: `what` is wrong, in which `setting`, of how many records, `first` to `last` batch.

    On a batch's page `here` of them are of that batch, and `href` leads to the case on the run's page. `links` are the
    strangest of the records that the page is about, each with its name and where it is shown.
    """

    id: str
    what: str
    setting: str
    records: int
    weight: float
    first: str
    last: str
    batches: int
    here: int = 0
    href: str = ""
    links: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        _relative(self.href, *(link for _, link in self.links))


@dataclass(frozen=True)
class BatchReport:
    """One scored batch. `read == scored + quarantined`; rates are shares of scored records.

    `cells` is how many groups have a threshold of their own, of which `threshold` is the lowest. `policy` is the rule
    in words; `asked_rate` and `threshold` are NaN where it promises no share of records.
    `calibrated` says of which days the calibration records are, "" where they have none.
    """

    pipeline: str
    batch: str
    version: str
    digest: str
    scored_at: str
    read: int
    scored: int
    quarantined: int
    flagged: int
    policy: str
    asked_rate: float
    threshold: float
    histogram: ScoreHistogram | None = None
    quarantine: Mapping[str, int] = field(default_factory=dict)
    records: Sequence[FlaggedRecord] = ()
    cases: Sequence[CaseLine] = ()
    notices: Sequence[str] = ()
    redact: Sequence[str] = ()
    calibrated: str = ""
    cells: int = 1
    run_href: str = ""
    previous: tuple[str, str] | None = None  # (name, relative href)
    following: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        _relative(self.run_href, *(near[1] for near in (self.previous, self.following) if near))

    @property
    def observed_rate(self) -> float:
        """Flagged records as a share of scored ones; NaN for a batch of none."""
        return self.flagged / self.scored if self.scored else float("nan")


@dataclass(frozen=True)
class BatchSummary:
    """A batch's line on the run page: counts, and quantiles of its scores (NaN when nothing was scored)."""

    batch: str
    read: int
    scored: int
    quarantined: int
    flagged: int
    median: float
    q05: float
    q95: float
    href: str = ""

    def __post_init__(self) -> None:
        _relative(self.href)

    @property
    def share(self) -> float:
        """Flagged records as a share of scored ones; NaN for a batch of none."""
        return self.flagged / self.scored if self.scored else float("nan")


@dataclass(frozen=True)
class RateLine:
    """Asked against observed for a month, the hold-out or all; `standard_error` is clustered by `units` of `unit`."""

    name: str
    scored: int
    flagged: int
    asked: float
    observed: float
    standard_error: float
    units: int = 0
    unit: str = ""

    @property
    def errors_away(self) -> float:
        """By how many standard errors observed and asked differ; NaN when either is unknown."""
        gap = abs(self.observed - self.asked)
        return gap / self.standard_error if self.standard_error > 0 else float("nan") if gap != gap else float("inf")

    @property
    def within(self) -> bool:
        """True when observed and asked differ by at most three standard errors."""
        return bool(abs(self.observed - self.asked) <= 3.0 * self.standard_error)


@dataclass(frozen=True)
class RunReport:
    """All batches of a run: what was flagged, how often, and whether the rate is the one asked for.

    `policy`, `asked_rate` and `threshold` as of a `BatchReport`. `drift` says in a sentence how the data changed, and
    `drift_href` is the relative link of the page that shows it.
    """

    pipeline: str
    versions: Sequence[str]
    period: str
    made_at: str
    policy: str
    asked_rate: float
    threshold: float
    batches: Sequence[BatchSummary]
    overall: RateLine
    unit: str = "day"
    holdout: RateLine | None = None
    groups: Sequence[RateLine] = ()
    strangest: Sequence[FlaggedRecord] = ()
    cases: Sequence[CaseLine] = ()
    notices: Sequence[str] = ()
    redact: Sequence[str] = ()
    digest: str = ""
    drift: str = ""
    drift_href: str = ""

    def __post_init__(self) -> None:
        _relative(self.drift_href)
