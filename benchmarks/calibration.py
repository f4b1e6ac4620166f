"""Do the error rates hold that flags are promised at? False alarms, and false discoveries per batch and over batches.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py
    OMP_NUM_THREADS=1 python benchmarks/calibration.py --parts null --runs 1000

About six minutes of one core. Records are drawn from a mixture of Gaussians in eight correlated columns, half of the
anomalies ordinary in every column (calibration_records.py). Every run draws its calibration and batches afresh; a
detector is fitted once, on records of its own. `exact` scores by the mixture's own -log density, which is what a
perfect fit would, `flowguard` by a small flow's, and IsolationForest is scikit-learn's under the same calibration.
Figures are means over runs, +- their standard error. A goal is held where the rate is at most what was asked and three
standard errors; false alarms must not stay further below either, and LOND must have half of the power that
Benjamini-Hochberg has batch by batch, levels not below 1 / (n + 1), and the same decisions after kills.

`lowest level`: LOND's for as many flags as there are anomalies, over the batches that have any, as a multiple of
1 / (n + 1): below 1 there were batches that could not be flagged. `killed twice`: the first run's sequence once more,
with its budget in a store and by processes of which two are killed, one between two batches and one inside a decision
(calibration_kill.py); whether all places, discoveries and levels are the same.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from calibration_kill import Place, called, through_kills
from calibration_records import Array, Mixture, Scorer, flow, forest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flowguard.calibration import FalseAlarmRate, FalseDiscoveryRate, History, p_value
from flowguard.calibration.conformal import smallest_level, smoothed_p_value
from flowguard.calibration.policy.lond import share

PARTS = ("null", "planted", "pooled")
RATES = (0.1, 0.01, 0.001)
SHARES = (0.01, 0.05, 0.1)
TARGET = 0.1
NULL = 2000, 2000
"""Calibration records and records judged in a run of `null`."""
PLANTED = 5000, 2000
TRAINED = 10_000
BATCHES, BATCH, ODD = 200, 500, 10
"""Batches of `pooled`, records of each, and anomalies of those that have any."""
EVERY = ((1, 20_000), (10, 100_000), (10, 1_000_000))
"""Batches from one with anomalies to the next, and calibration records.

A million keep levels above 1 / (n + 1) whatever is found, also where nothing is before the last batch.
"""
DRAWN = 100_000
"""Calibration records that are drawn and scored at once."""
KILLED = 0.35, 0.7
"""Where processes are killed, as shares of the batches: after a decision, and inside one."""

Ranker = Callable[[Array, Array, np.random.Generator], Array]


@dataclass(frozen=True)
class Mean:
    """A mean over runs and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float] | Array) -> Mean:
        values = np.asarray(values, dtype=float)
        return cls(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))

    def __str__(self) -> str:
        return f"{100 * self.mean:.3g} +- {100 * self.error:.2g}"

    def at_most(self, target: float) -> bool:
        return self.mean <= target + 3 * self.error


# -- the three parts ---------------------------------------------------------------------------------------------------


def ranked(reference: Array, score: Array, rng: np.random.Generator) -> Array:
    return p_value(reference, score)


def tied(reference: Array, score: Array, rng: np.random.Generator) -> Array:
    """Scores rounded to a multiple of four, so that most records tie, and ties broken at random."""
    return smoothed_p_value(np.round(reference / 4), np.round(score / 4), rng.uniform(1e-12, 1, len(score)))


def null(
    name: str, score: Scorer, mixture: Mixture, rank: Ranker, *, runs: int, seed: int
) -> Iterator[Sequence[str] | None]:
    """Alarms among ordinary records: a row for each rate; None after every run."""
    rng = np.random.default_rng(seed)
    n, m = NULL
    alarms = np.zeros((runs, len(RATES)))
    for run in range(runs):
        values = score(mixture.draw(n + m, rng))
        p = rank(np.sort(values[:n]), values[n:], rng)
        alarms[run] = [FalseAlarmRate(rate).decide(p, n_reference=n).flag.mean() for rate in RATES]
        yield None
    for rate, observed in zip(RATES, alarms.mean(0), strict=True):
        # The threshold varies with the calibration records as the rate does with those judged.
        error = np.sqrt(rate * (1 - rate) * (1 / n + 1 / m) / runs)
        attainable = np.floor(rate * (n + 1)) / (n + 1) if rank is ranked else rate
        held = observed <= rate + 3 * error and observed >= attainable - 3 * error
        yield [name, f"{100 * rate:g}", str(Mean(observed, error)), f"{(observed - rate) / error:+.1f}", yes(held)]


def planted(
    name: str, score: Scorer, mixture: Mixture, anomalies: float, *, runs: int, seed: int
) -> Iterator[Sequence[str] | None]:
    """False discoveries per batch: a row; None after every run."""
    rng = np.random.default_rng(seed)
    n, m = PLANTED
    policy, odd = FalseDiscoveryRate(TARGET), round(anomalies * m)
    false, found = np.zeros(runs), np.zeros(runs)
    for run in range(runs):
        reference = np.sort(score(mixture.draw(n, rng)))
        flag = policy.decide(p_value(reference, batch(score, mixture, m, odd, rng)), n_reference=n).flag
        false[run] = flag[odd:].sum() / max(1, flag.sum())
        found[run] = flag[:odd].mean()
        yield None
    rate, power = Mean.of(false), Mean.of(found)
    yield [f"{100 * anomalies:g}", name, str(rate), str(power), yes(rate.at_most(TARGET))]


def pooled(
    name: str, score: Scorer, mixture: Mixture, every: int, n: int, *, runs: int, seed: int
) -> Iterator[Sequence[str] | None]:
    """False discoveries over all batches: a row for LOND and one for Benjamini-Hochberg; None after every run."""
    rng = np.random.default_rng(seed)
    policies = {"LOND": FalseDiscoveryRate(TARGET, pooled=True), "BH per batch": FalseDiscoveryRate(TARGET)}
    false, found = ({policy: np.zeros(runs) for policy in policies} for _ in range(2))
    odd = np.array([ODD if t % every == 0 else 0 for t in range(1, BATCHES + 1)])
    drawn = [min(DRAWN, n - done) for done in range(0, n, DRAWN)]
    lowest, unharmed = np.inf, False
    for run in range(runs):
        reference = np.sort(np.concatenate([score(mixture.draw(some, rng)) for some in drawn]))
        p = np.array([p_value(reference, batch(score, mixture, BATCH, some, rng)) for some in odd])
        for key, policy in policies.items():
            places, flags = in_turn(policy, p, n)
            wrong = sum(int(flag[some:].sum()) for some, flag in zip(odd, flags, strict=True))
            flagged = sum(place.discoveries for place in places)
            false[key][run] = wrong / max(1, flagged)
            found[key][run] = (flagged - wrong) / odd.sum()
            if key == "LOND":
                reached = [TARGET * share(at.t) * (at.discoveries_before + ODD) / BATCH for at in places]
                lowest = min(lowest, np.array(reached)[odd > 0].min())
                if not run:
                    after, inside = (round(at * BATCHES) for at in KILLED)
                    unharmed = through_kills(p, n, TARGET, after=after, inside=inside) == places
        yield None
    for key in policies:
        rate, power = Mean.of(false[key]), Mean.of(found[key])
        told = ["", "", "not its goal"]
        if key == "LOND":
            above = lowest / smallest_level(n)
            half = power.mean >= found["BH per batch"].mean() / 2
            met = {"rate": rate.at_most(TARGET), "power": half, "level": above >= 1, "kills": unharmed}
            missed = ", ".join(goal for goal, held in met.items() if not held)
            told = [f"{above:.1f}", "the same" if unharmed else "DIFFERS", f"NO: {missed}" if missed else "yes"]
        where = "each" if every == 1 else f"1 of {every}"
        yield [where, f"{n:,}", name, key, str(rate), str(power), *told]


def in_turn(policy: FalseDiscoveryRate, p: Array, n: int) -> tuple[list[Place], list[Array]]:
    """The places of batches `p` (batches, records) and their flags, decided one after the other without a store."""
    places: list[Place] = []
    flags: list[Array] = []
    before = 0
    for t, values in enumerate(p, start=1):
        made = policy.decide(values, n_reference=n, history=History(t, before))
        places.append(Place(called(t), t, len(values), before, made.discoveries, made.level))
        flags.append(made.flag)
        before += made.discoveries
    return places, flags


def batch(score: Scorer, mixture: Mixture, m: int, odd: int, rng: np.random.Generator) -> Array:
    """Scores of `m` records, the first `odd` of them anomalies."""
    return score(np.concatenate([mixture.odd(odd, rng), mixture.draw(m - odd, rng)]))


def yes(held: bool) -> str:
    return "yes" if held else "NO"


# -- tables ------------------------------------------------------------------------------------------------------------


def heads() -> Mapping[str, Table]:
    """The three tables, empty."""
    asked = f"at most {100 * TARGET:g} % asked"
    titles = {
        "null": f"False alarms: {NULL[0]:,} calibration records, {NULL[1]:,} ordinary records judged",
        "planted": f"False discoveries, {asked}: {PLANTED[0]:,} calibration records, batches of {PLANTED[1]:,}",
        "pooled": f"False discoveries, {asked}: {BATCHES} batches of {BATCH}, {ODD} anomalies in the odd ones",
    }
    names = {
        "null": ["score", "rate asked %", "alarms %", "in se", "goal held"],
        "planted": ["anomalies %", "score", "FDR %", "power %", "goal held"],
        "pooled": [
            "odd batches",
            "calibration",
            "score",
            "policy",
            "FDR %",
            "power %",
            "lowest level",
            "killed twice",
            "goal held",
        ],
    }
    made = {}
    for part, title in titles.items():
        made[part] = Table(title=title)
        for name in names[part]:
            left = name in ("score", "policy", "killed twice", "goal held")
            made[part].add_column(name, justify="left" if left else "right", no_wrap=True)
    return made


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"comma-separated (default: {','.join(PARTS)})")
    parser.add_argument("--runs", type=int, default=100, help="of null and planted; a tenth of pooled")
    parser.add_argument("--no-flow", action="store_true", help="without flowguard's flow, which takes torch and a fit")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    parts = args.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--parts has {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    if args.runs < 10:
        parser.error("--runs must be 10 or more, for a standard error to be one")
    console = Console()
    started = time.perf_counter()
    mixture = Mixture.of(args.seed)
    tables = heads()
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("fit", total=None)
        trained = mixture.draw(TRAINED, np.random.default_rng(args.seed + 1))
        scores: dict[str, Scorer] = {"exact": mixture.score, "IsolationForest": forest(trained, seed=args.seed)}
        if not args.no_flow:
            scores["flowguard"] = flow(trained, seed=args.seed)
        for part in parts:
            for section in planned(part, scores, mixture, runs=args.runs, seed=args.seed + 2):
                for description, runs, steps in section:
                    progress.update(task, description=f"{part}: {description}", total=runs, completed=0)
                    for row in steps:
                        if row is None:
                            progress.advance(task)
                        else:
                            tables[part].add_row(*row)
                tables[part].add_section()
        progress.remove_task(task)
    for part in parts:
        console.print(tables[part])
    threads = os.environ.get("OMP_NUM_THREADS", "every")
    console.print(f"{time.perf_counter() - started:.0f} s, {threads} thread(s)")


def planned(
    part: str, scores: Mapping[str, Scorer], mixture: Mixture, *, runs: int, seed: int
) -> list[list[tuple[str, int, Iterator[Sequence[str] | None]]]]:
    """The sections of a part's table: what each measures, in how many runs, and the steps that measure it."""
    few = max(10, runs // 10)
    if part == "null":
        ways = [(name, score, ranked) for name, score in scores.items()]
        ways.append(("exact, tied, smoothed", mixture.score, tied))
        return [[(name, runs, null(name, score, mixture, rank, runs=runs, seed=seed))] for name, score, rank in ways]
    if part == "planted":
        return [
            [
                (name, runs, planted(name, score, mixture, anomalies, runs=runs, seed=seed))
                for name, score in scores.items()
            ]
            for anomalies in SHARES
        ]
    return [
        [
            (name, few, pooled(name, score, mixture, every, n, runs=few, seed=seed))
            for name, score in scores.items()
            if name != "IsolationForest"  # slow, and another score teaches nothing more
        ]
        for every, n in EVERY
    ]


if __name__ == "__main__":
    main()
