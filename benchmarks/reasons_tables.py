"""What was measured of reasons, as tables: who names the altered column first, on which records, at what cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from reasons_methods import Judged
from reasons_records import PIPELINES
from rich.table import Table

OURS = "flowguard"


@dataclass(frozen=True)
class Range:
    """How many of the held-out values of a column lie in the range expected of them; the error is clustered by unit."""

    values: int
    covered: float
    error: float


@dataclass(frozen=True)
class Outcome:
    """What one method got on one table from one seed: what it said beside what was altered, or an error."""

    table: str
    line: str
    seed: int
    column: tuple[str, ...] = ()
    inside: tuple[bool, ...] = ()
    judged: Judged | None = None
    ranges: Mapping[str, Range] | None = None
    error: str | None = None


def clustered(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """The mean of 0 and 1, and its standard error where values of one cluster may go together; NaN for none.

    >>> clustered(np.array([1, 1, 0, 0]), np.array(["a", "a", "b", "b"]))
    (0.5, 0.5)
    """
    if not len(values):
        return float("nan"), float("nan")
    mean = float(np.mean(values))
    names, of = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return mean, float("nan")
    sums = np.bincount(of, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values))


@dataclass(frozen=True)
class Share:
    """A share of `of` records with its standard error; NaN where there is none."""

    value: float
    error: float
    of: int

    @classmethod
    def among(
        cls,
        outcomes: Sequence[Outcome],
        *,
        inside: bool | None = None,
        column: str | None = None,
        paired: bool = False,
        by: Sequence[Outcome] | None = None,
    ) -> Share:
        """How often the altered column is first among the records that were flagged, in one table; `paired`: or the
        partner of the first; `by`: those that another method flagged."""
        hits: list[bool] = []
        clusters: list[str] = []
        for one, other in zip(outcomes, outcomes if by is None else by, strict=True):
            assert one.judged is not None
            assert other.judged is not None
            for at, flag, first, within in zip(
                one.column, other.judged.flagged, one.judged.first, one.inside, strict=True
            ):
                if flag and inside in (None, within) and column in (None, at):
                    hits.append(at in (first if paired else first[:1]))
                    clusters.append(f"{one.seed} {at}")
        return cls(*clustered(np.array(hits, dtype=float), np.array(clusters)), len(hits))

    @classmethod
    def mean(cls, shares: Sequence[Share]) -> Share:
        """The mean over tables, each with the same weight, of those that have a share."""
        some = [one for one in shares if one.of]
        if not some:
            return cls(float("nan"), float("nan"), 0)
        error = np.sqrt(sum(one.error**2 for one in some)) / len(some)
        return cls(float(np.mean([one.value for one in some])), float(error), sum(one.of for one in some))

    def __str__(self) -> str:
        if not self.of:
            return "-"
        error = "" if np.isnan(self.error) else f" ± {100 * self.error:.1f}"
        return f"{100 * self.value:.1f}{error}"


Found = Mapping[str, Mapping[str, list[Outcome]]]
"""By table, then by line."""


def grouped(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[Outcome]]]:
    """Outcomes by table and line; without those lines that failed for a seed."""
    found: dict[str, dict[str, list[Outcome]]] = {}
    for one in outcomes:
        found.setdefault(one.table, {}).setdefault(one.line, []).append(one)
    return {
        table: {line: each for line, each in lines.items() if all(one.judged for one in each)}
        for table, lines in found.items()
    }


def by_table(found: Found, lines: Sequence[str]) -> Table:
    """The share of flagged records of which the altered column is named first, by table and method."""
    made = _table("Altered column named first, % of the records that the method flagged, and its standard error")
    _heads(made, "altered", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        cells = [str(Share.among(each[line])) if line in each else "failed" for line in lines]
        made.add_row(table, f"{sum(len(one.column) for one in some):,}", *cells)
    mean = [str(Share.mean([Share.among(each[line]) for each in found.values() if line in each])) for line in lines]
    made.add_row("mean", "", *mean, style="bold")
    return made


def same_records(found: Found, lines: Sequence[str]) -> Table:
    """The same share for every method on the same records: those that flowguard flagged."""
    made = _table("The same, of every method on the records that flowguard flagged")
    _heads(made, "flagged", lines)
    both = {table: each for table, each in found.items() if OURS in each}
    shares = {
        table: {line: Share.among(each[line], by=each[OURS]) for line in lines if line in each}
        for table, each in both.items()
    }
    for table, each in shares.items():
        made.add_row(table, f"{each[OURS].of:,}", *(str(each[line]) if line in each else "failed" for line in lines))
    if both:
        mean = [str(Share.mean([each[line] for each in shares.values() if line in each])) for line in lines]
        made.add_row("mean", "", *mean, style="bold")
    return made


def flagged(found: Found, lines: Sequence[str]) -> Table:
    """How many altered records each method flags, in per cent."""
    made = _table("Altered records flagged, %")
    _heads(made, "inside", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        inside = np.mean([within for one in some for within in one.inside]) if some else float("nan")
        rates = [f"{100 * _caught(each[line]):.1f}" if line in each else "failed" for line in lines]
        made.add_row(table, f"{100 * inside:.0f} %", *rates)
    return made


def _caught(outcomes: Sequence[Outcome]) -> float:
    return float(np.mean([flag for one in outcomes if one.judged for flag in one.judged.flagged]))


def _heads(made: Table, second: str, lines: Sequence[str]) -> None:
    made.add_column("table", no_wrap=True)
    made.add_column(second, justify="right")
    for line in lines:
        made.add_column(line, justify="right")


def summary(found: Found, lines: Sequence[str]) -> Table:
    """One line per method, means over tables."""
    made = _table("Means over tables; seconds are the processor's, all threads together")
    made.add_column("method", no_wrap=True)
    heads = ("first %", "or its partner %", "first %, inside", "altered flagged %", "flagged and first %")
    for name in (*heads, "ordinary flagged %", "s per 1,000 explained", "fit s"):
        made.add_column(name, justify="right")
    for line in lines:
        each = [its[line] for its in found.values() if line in its]
        if not each:
            made.add_row(line, "failed", *["-"] * 7)
            continue
        judged = [[one.judged for one in its if one.judged is not None] for its in each]
        shares = [Share.among(its) for its in each]
        caught = [_caught(its) for its in each]
        right = [share.value * rate if share.of else 0.0 for share, rate in zip(shares, caught, strict=True)]
        alarms = [sum(one.alarms for one in its) / sum(one.held for one in its) for its in judged]
        seconds = [
            1000 * sum(one.explain_seconds for one in its) / count
            for its in judged
            if (count := sum(one.explained for one in its))
        ]
        made.add_row(
            line,
            str(Share.mean(shares)),
            str(Share.mean([Share.among(its, paired=True) for its in each])),
            str(Share.mean([Share.among(its, inside=True) for its in each])),
            *(f"{100 * np.mean(rates):.1f}" for rates in (caught, right)),
            f"{100 * np.mean(alarms):.2f}",
            f"{np.mean(seconds):.2f}" if seconds else "-",
            f"{np.mean([one.fit_seconds for its in judged for one in its]):.1f}",
        )
    return made


def seconds_by_table(found: Found, lines: Sequence[str]) -> Table:
    """What 1,000 explained records cost, in seconds of the processor."""
    made = _table("Seconds of the processor, all threads together, for 1,000 explained records")
    _heads(made, "columns", lines)
    for table, each in found.items():
        some = next(iter(each.values()), [])
        cells = []
        for line in lines:
            judged = [one.judged for one in each.get(line, []) if one.judged is not None]
            count = sum(one.explained for one in judged)
            cells.append(f"{1000 * sum(one.explain_seconds for one in judged) / count:.2f}" if count else "-")
        made.add_row(table, str(len({at for one in some for at in one.column})), *cells)
    return made


def by_column(found: Found, lines: Sequence[str]) -> Table:
    """The same share by altered column, of the pipelines' tables, whose columns have names."""
    made = _table("Altered column named first, % of the records flagged, and how many these are, by column")
    made.add_column("table", no_wrap=True)
    made.add_column("altered column", no_wrap=True)
    for line in lines:
        made.add_column(line, justify="right")
    for table, each in found.items():
        names = {at for its in each.values() for one in its for at in one.column} if table in PIPELINES else set()
        for name in sorted(names):
            cells = []
            for line in lines:
                share = Share.among(each[line], column=name) if line in each else None
                cells.append("failed" if share is None else f"{share}, {share.of:,}")
            made.add_row(table, name, *cells)
    return made


def coverage(found: Found) -> Table:
    """How many held-out values lie in flowguard's 90 % ranges, by table and column, over all seeds."""
    made = _table("Held-out records within the expected range of 90 %, of each column given the rest")
    made.add_column("table", no_wrap=True)
    made.add_column("column", no_wrap=True)
    made.add_column("values", justify="right")
    made.add_column("within %", justify="right")
    made.add_column("by seed", justify="right")
    for table, each in found.items():
        some = [one.ranges for its in each.values() for one in its if one.ranges]
        for name in some[0] if some else ():
            all_ = [ranges[name] for ranges in some]
            error = np.sqrt(sum(one.error**2 for one in all_)) / len(all_)
            share = Share(float(np.mean([one.covered for one in all_])), float(error), sum(one.values for one in all_))
            made.add_row(
                table, name, f"{share.of:,}", str(share), ", ".join(f"{100 * one.covered:.1f}" for one in all_)
            )
    return made


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, padding=(0, 1))


# -- the command -----------------------------------------------------------------------------------------------------
