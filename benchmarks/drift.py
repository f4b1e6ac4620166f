"""Drift: false alarms in quiet years, and what is planted, named and timed.

    OMP_NUM_THREADS=1 python benchmarks/drift.py
    OMP_NUM_THREADS=1 python benchmarks/drift.py --years 200 --repeats 20

About three minutes of one core. A quiet year is 365 days of 100 scores after 60 calibration days, whose records share a
random effect of their day on level and on spread; the first years are checked against the monitor itself, day by day.
Planted faults begin 10 to 60 days after 120 calibration days of about 150 flights, and count as found within 90 days, a
season within the year; the name is that of the first alarm, and what is not found is not named. `season, after a year`
has a year of calibration days behind it.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from detection_progress import steps
from drift_world import PLANTED, USUAL, Weather, before, day_of, scores_of
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from flowguard.calibration.drift import (
    BatchSummary,
    Capital,
    DriftMonitor,
    Records,
    Reference,
    batch_p_value,
    coin,
    rank,
    seal,
)

Array = NDArray[np.float64]

DAYS, CALIBRATION, RECORDS, EFFECT = 365, 60, 100, 0.3
CHECKED = 2
HORIZON, SEASON_HORIZON = 90, 365
GOAL_NAMED = 0.9
BLOCK = 1.5  # of the standard deviation of a score: no record of such a block is odd by itself


@dataclass(frozen=True)
class Trial:
    """One planted change: the days until the first alarm and its kind, None where there was none."""

    days: int | None
    kind: str | None


@dataclass(frozen=True)
class Quiet:
    """Of many years: how many alarmed, how many batches were flagged by themselves, and blocks planted at the end."""

    years: int
    alarmed: int
    flagged: float
    blocks: float


def quiet_years(years: int, seed: int, step: Callable[[str], None]) -> Quiet:
    """Scores only: all years side by side, by the functions of which the monitor is made."""
    k, keys = 2, ("score/level/", "score/spread/")
    history = np.full((CALIBRATION + DAYS, years, k), np.nan)
    coins = np.empty((DAYS, years, k))
    blocks = np.empty((years, k))
    checks = []
    for year in range(years):
        if year % 50 == 0:
            step(f"quiet years {year:,} to {min(years, year + 50):,}")
        random = np.random.default_rng([seed, 1, year])
        scores = scores_of(random, CALIBRATION + DAYS + 1, RECORDS, EFFECT)
        units = np.repeat(np.arange(1000, 1000 + CALIBRATION), RECORDS)
        reference, earlier = seal(Records(scores[:CALIBRATION].ravel()), units)
        pipeline = f"year {year}"
        first = [[one.statistics[key] for key in keys] for one in earlier]
        history[CALIBRATION - len(first) : CALIBRATION, year] = first
        history[CALIBRATION:, year] = statistics_of(reference, scores[CALIBRATION:-1])
        blocks[year] = statistics_of(reference, scores[-1:] + BLOCK)[0]
        coins[:, year] = [[coin(pipeline, str(day), key) for key in keys] for day in range(DAYS)]
        if year < CHECKED:
            checks.append(monitored(reference, pipeline, earlier, scores[CALIBRATION:-1]))
    capital, monitor = Capital.new((years, k)), DriftMonitor(reference, "")
    path = np.empty((DAYS, years, k))
    for day in range(DAYS):
        now = CALIBRATION + day
        capital = capital.bet(rank(history[:now], history[now], coins[day]))
        path[day] = capital.log
    for year, expected in enumerate(checks):
        np.testing.assert_allclose(path[: len(expected), year], expected, atol=1e-6)
    some = range(0, years, max(1, years // 100))
    flags = [
        batch_p_value(history[:now, year], history[now, year]).p_value <= monitor.batch_rate
        for year in some
        for now in range(CALIBRATION, CALIBRATION + DAYS)
    ]
    odd = [batch_p_value(history[:, year], blocks[year]).p_value <= monitor.batch_rate for year in range(years)]
    alarmed = int((path.max(axis=(0, 2)) >= monitor.threshold).sum())
    return Quiet(years, alarmed, float(np.mean(flags)), float(np.mean(odd)))


def statistics_of(reference: Reference, scores: Array) -> Array:
    """Level and spread of many days (days, records) at once, (days, 2), as `Reference.summarise` has them."""
    normal = reference.score.scale(scores)
    n, one = scores.shape[1], reference.score
    level = normal.mean(axis=1) - one.means[0]
    spread = normal.var(axis=1, ddof=1) - (one.squares[0] - one.means[0] ** 2)
    usual = np.sqrt([one.level.between + one.level.within / n, one.spread.between + one.spread.within / n])
    return (np.stack([level, spread], axis=1) - [one.level.centre, one.spread.centre]) / usual


def monitored(reference: Reference, pipeline: str, earlier: Sequence[BatchSummary], scores: Array) -> Array:
    """The monitor's own log martingales until its first alarm, (days, 2)."""
    monitor, found = DriftMonitor(reference, pipeline), []
    state = monitor.begin(earlier)
    for day, own in enumerate(scores):
        state, record = monitor.observe(state, reference.summarise(Records(own), batch=str(day)))
        found.append(list(record.log_martingales.values()))
        if record.alarms:
            break
    return np.array(found)


def airline(random: np.random.Generator, weather: Weather, days: range) -> tuple[DriftMonitor, list[BatchSummary]]:
    """A monitor sealed on days of that weather."""
    parts = [day_of(random, weather, float(day)) for day in days]
    joined = {
        kind: {name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in getattr(parts[0], kind)}
        for kind in ("features", "context", "conditional")
    }
    names = [f"{day:05}" for day in days]
    units = np.repeat(names, [len(part) for part in parts])
    records = Records(np.concatenate([part.score for part in parts]), **joined)
    reference, earlier = seal(records, units, days=dict(zip(names, map(float, days), strict=True)))
    return DriftMonitor(reference, "airline"), list(earlier)


def trial(random: np.random.Generator, planted: str) -> Trial:
    """The first alarm after a change; one before it is an alarm too, of a wrong name and no days."""
    weather, season = PLANTED[planted][0], PLANTED[planted][0].season > 0
    start = int(random.integers(0, 365))
    days = range(start, start + (365 if planted == "season, after a year" else 120))
    quiet = 0 if season else int(random.integers(10, 60))
    monitor, earlier = airline(random, before(planted), days)
    state = monitor.begin(earlier)
    for i in range(quiet + (SEASON_HORIZON if season else HORIZON)):
        day = float(days[-1] + 1 + i)
        records = day_of(random, before(planted) if i < quiet else weather, day)
        summary = monitor.reference.summarise(records, batch=f"{day:.0f}", day=day)
        state, record = monitor.observe(state, summary)
        if record.drift is not None:
            return Trial(i - quiet + 1, record.drift.kind) if i >= quiet else Trial(None, "too early")
    return Trial(None, None)


def quiet_airline(random: np.random.Generator) -> tuple[bool, int]:
    """Whether a quiet year of all channels alarmed, and how many channels those are."""
    monitor, earlier = airline(random, USUAL, range(120))
    state = monitor.begin(earlier)
    for day in range(120, 120 + DAYS):
        summary = monitor.reference.summarise(day_of(random, USUAL, float(day)), batch=str(day))
        state, record = monitor.observe(state, summary)
        if record.alarms:
            return True, len(monitor.channels)
    return False, len(monitor.channels)


def quiet_table(scores: Quiet, every: tuple[int, int, int]) -> Table:
    """False alarms, with what they may be."""
    made = Table(title="quiet years: P(any alarm in 365 daily batches)")
    for name in ("what", "of", "found", "goal", ""):
        made.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    alarmed, years, channels = every
    for what, hits, n in (
        ("scores only, clustered days", scores.alarmed, scores.years),
        (f"all {channels} channels, clustered days", alarmed, years),
    ):
        share, limit = hits / n, 0.01 + 3 * math.sqrt(0.01 * 0.99 / n)
        found, goal = f"{share:.4f} ± {error(share, n):.4f}", f"<= {limit:.4f}"
        made.add_row(what, f"{n:,} years", found, goal, verdict(share <= limit))
    made.add_section()
    n = DAYS * min(scores.years, 100)
    ok = scores.flagged <= 0.001 + 3 * math.sqrt(0.001 / n)
    made.add_row("quiet batches flagged by themselves", f"{n:,} days", f"{scores.flagged:.5f}", "<= 0.001", verdict(ok))
    what = f"blocks {BLOCK:g} sd up flagged, on day 366"
    made.add_row(what, f"{scores.years:,} days", f"{scores.blocks:.2f}", "", "")
    return made


def planted_table(found: dict[str, list[Trial]]) -> Table:
    """How each planted kind was named, and when."""
    made = Table(title=f"planted, {len(next(iter(found.values())))} of each: the name and day of the first alarm")
    for name in ("planted", "kind", "found", "named rightly", "goal", "", "days, median", "90 %", "else"):
        made.add_column(name, justify="left" if name in ("planted", "kind", "else") else "right", no_wrap=True)
    for planted, trials in found.items():
        kind, n = PLANTED[planted][1], len(trials)
        share = sum(one.kind == kind for one in trials) / n
        days = [one.days for one in trials if one.days is not None]
        median, late = (f"{value:.0f}" for value in np.quantile(days, [0.5, 0.9])) if days else ("", "")
        others = Counter(one.kind or "nothing" for one in trials if one.kind != kind)
        made.add_row(
            planted,
            kind,
            f"{len(days) / n:.2f}",
            f"{share:.2f} ± {error(share, n):.2f}",
            f">= {GOAL_NAMED}",
            verdict(share >= GOAL_NAMED),
            median,
            late,
            ", ".join(f"{name} {count}" for name, count in others.most_common()),
        )
    return made


def error(share: float, n: int) -> float:
    """The standard error of a share, not 0 where all or none were hit (Agresti & Coull 1998)."""
    held = (share * n + 2) / (n + 4)
    return math.sqrt(held * (1 - held) / (n + 4))


def verdict(ok: bool) -> str:
    return "met" if ok else "NOT MET"


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=1000, help="quiet years of scores (default: 1000)")
    parser.add_argument("--all-years", type=int, default=50, help="quiet years of all channels (default: 50)")
    parser.add_argument("--repeats", type=int, default=60, help="of each planted change (default: 60)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    console = Console()
    found: dict[str, list[Trial]] = {}
    with steps(console, -(-args.years // 50) + 1 + len(PLANTED)) as step:
        scores = quiet_years(args.years, args.seed, step)
        step("quiet years, all channels")
        every = [quiet_airline(np.random.default_rng([args.seed, 2, year])) for year in range(args.all_years)]
        for place, planted in enumerate(PLANTED):
            step(planted)
            seeds = ([args.seed, 3, place, repeat] for repeat in range(args.repeats))
            found[planted] = [trial(np.random.default_rng(seed), planted) for seed in seeds]
    alarmed = sum(one for one, _ in every)
    console.print(quiet_table(scores, (alarmed, len(every), every[0][1])))
    console.print(planted_table(found))


if __name__ == "__main__":
    main()
