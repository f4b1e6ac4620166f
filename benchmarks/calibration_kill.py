"""A sequence of batches whose error budget is in a store, decided by processes that are killed: for calibration.py.

As `flowguard score` does it: each batch is decided in a transaction of the store, under the key of its version, and a
process that starts after a kill takes up what it finds there. A process kills itself by SIGKILL, which it can neither
catch nor put off: nothing is closed, flushed or rolled back by it.

    python benchmarks/calibration_kill.py sqlite:////tmp/budgets.db p_values.npy 20000 0.1 --after 70
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowguard.calibration import FalseDiscoveryRate
from flowguard.store import Reservation, Store

PIPELINE, VERSION = "calibration", 1


@dataclass(frozen=True)
class Place:
    """What was decided on a batch: the `t`-th of its sequence, after so many discoveries, with so many of its own."""

    batch: str
    t: int
    records: int
    discoveries_before: int
    discoveries: int
    level: float

    @classmethod
    def of(cls, made: Reservation) -> Place:
        return cls(made.batch, made.t, made.records, made.discoveries_before, made.discoveries, made.level)


def decide(
    url: str, p_value: np.ndarray, n: int, rate: float, *, after: int | None = None, inside: int | None = None
) -> None:
    """Decide in turn on the batches of `p_value` (batches, records), all of them, decided before or not.

    Killed `after` the decision on that batch is committed and before anything is made of it, or `inside` that on
    another, when levels are known and nothing is written; batches count from 1.
    """
    policy, budgets = FalseDiscoveryRate(rate, pooled=True), Store.open(url).budgets
    for number, values in enumerate(p_value, start=1):
        decided = policy.in_turn(values, n_reference=n)
        decided = killed_in(decided) if number == inside else decided
        budgets.reserve(PIPELINE, key(policy), batch=called(number), records=len(values), decide=decided)
        if number == after:
            kill()


def killed_in(decided: Callable[[int, int], tuple[int, float]]) -> Callable[[int, int], tuple[int, float]]:
    """`decided`, and the end of the process as soon as it is known what it says."""

    def ended(t: int, discoveries_before: int) -> tuple[int, float]:
        made = decided(t, discoveries_before)
        kill()
        return made

    return ended


def kill() -> None:
    """The end of this process, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def called(number: int) -> str:
    """What a batch is called, from 1."""
    return f"{number:04}"


def key(policy: FalseDiscoveryRate) -> str:
    """What `flowguard score` calls the sequence of a version."""
    return f"version {VERSION}, {policy.words}"


def places(url: str, rate: float) -> list[Place]:
    """The decisions that are in the store, in their order."""
    policy = FalseDiscoveryRate(rate, pooled=True)
    return [Place.of(made) for made in Store.open(url).budgets.of(PIPELINE, key(policy))]


def through_kills(p_value: np.ndarray, n: int, rate: float, *, after: int, inside: int) -> list[Place]:
    """The decisions of three processes, one after the other: the first two are killed, the third goes to the end.

    Raises RuntimeError where a process did not end as it was to, or left more or less behind than was committed.
    """
    with tempfile.TemporaryDirectory() as folder:
        url, file = f"sqlite:///{folder}/budgets.db", Path(folder) / "p_values.npy"
        np.save(file, p_value)
        ends = ((["--after", str(after)], after), (["--inside", str(inside)], inside - 1), ([], len(p_value)))
        for asked, left in ends:
            command = [sys.executable, __file__, url, str(file), str(n), repr(rate), *asked]
            ended = subprocess.run(command, check=False, capture_output=True, text=True)
            found = len(places(url, rate))
            if ended.returncode != (-signal.SIGKILL if asked else 0) or found != left:
                raise RuntimeError(
                    f"{' '.join(asked) or 'the last process'}: ended with {ended.returncode} and {found} batches "
                    f"decided, {left} expected\n{ended.stderr}"
                )
        return places(url, rate)


def main() -> None:
    """Decide, to the end or to the kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="of the store")
    parser.add_argument("p_values", help="a .npy file, (batches, records)")
    parser.add_argument("n", type=int, help="calibration records")
    parser.add_argument("rate", type=float)
    parser.add_argument("--after", type=int, help="be killed after the decision on this batch, from 1")
    parser.add_argument("--inside", type=int, help="be killed inside that on this one")
    args = parser.parse_args()
    decide(args.url, np.load(args.p_values), args.n, args.rate, after=args.after, inside=args.inside)


if __name__ == "__main__":
    main()
