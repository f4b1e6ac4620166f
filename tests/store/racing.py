"""Processes that use one store at the same moment, and one that is killed in the middle. For SQLite and PostgreSQL."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from flowguard.errors import InputError, StoreError
from flowguard.store import Notice, Store, Verdict

PATIENCE = 60.0


def lond(t: int, discoveries_before: int) -> tuple[int, float]:
    """A policy whose decision shows its position, so that a double or lost position shows."""
    return t % 3, 0.1 * 2.0 ** -min(t, 60) * (discoveries_before + 1)


def race(
    work: Callable[[str, int, Barrier, Queue[object]], None], url: str, processes: int = 2, answers: int = 1
) -> list[object]:
    """What the processes put in the queue, `answers` each; all start `work(url, number, barrier, queue)` together."""
    spawn = multiprocessing.get_context("spawn")
    barrier, said = spawn.Barrier(processes), spawn.Queue()
    runners = [spawn.Process(target=work, args=(url, number, barrier, said)) for number in range(processes)]
    for runner in runners:
        runner.start()
    try:
        found = [said.get(timeout=PATIENCE) for _ in range(processes * answers)]
    finally:
        for runner in runners:
            runner.join(PATIENCE)
    assert [runner.exitcode for runner in runners] == [0] * processes
    return found


def open_it(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Open a store that is not there yet."""
    barrier.wait(PATIENCE)
    said.put(repr(Store.open(url)))


def reserve_all(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Decide on batches of its own and on batches that the others decide on as well."""
    budgets = Store.open(url).budgets
    barrier.wait(PATIENCE)
    made = []
    for step in range(8):
        for batch in (f"own-{number}-{step}", f"shared-{step}"):
            made.append(budgets.reserve("meters", "fdr 0.1", batch=batch, records=10, decide=lond))
    said.put(made)


def promote(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Move the champion from version 1 to a version of its own; what came of it."""
    aliases = Store.open(url).aliases
    barrier.wait(PATIENCE)
    try:
        change = aliases.record(
            "meters", "champion", expected_from=1, to=number + 2, who=f"user-{number}", why="mine is better"
        )
    except StoreError as error:
        said.put(str(error))
    else:
        said.put(change)


def decide(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Decide on a record of its own and on one that the others decide on as well, both having seen no entry."""
    verdicts = Store.open(url).verdicts
    barrier.wait(PATIENCE)
    for record_id in (f"own-{number}", "shared"):
        verdict = Verdict("meters", "monday", record_id, 1, "confirmed", "", f"user-{number}", 9.0, 0.001, flagged=True)
        try:
            said.put(verdicts.put(verdict, seen=None))
        except StoreError as error:
            said.put(str(error))


def revoke_one(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Revoke the first rule; what came of it."""
    rules = Store.open(url).rules
    barrier.wait(PATIENCE)
    try:
        said.put(rules.revoke("meters", 1, who=f"user-{number}"))
    except InputError as error:
        said.put(str(error))


def tell(url: str, number: int, barrier: Barrier, said: Queue[object]) -> None:
    """Notice the same events as the others, one after the other, and tell them; what was given to this process."""
    notices, sender, mine = Store.open(url).notices, f"process {number}", list[str]()
    barrier.wait(PATIENCE)
    for step in range(10):
        notices.add([Notice("meters", "flagged", f"batch {step}", {}, occasion=sender)])
        due = notices.claim("meters", "flagged", addresses=["chat"], every=timedelta(0), sender=sender)
        mine += [one.subject for each in due for one in each.notices]
        notices.settle("meters", "flagged", sender=sender, reached=["chat"], addresses=["chat"])
    said.put(mine)


def reserve_and_hang(url: str, inside: str) -> None:
    """Get stuck in the decision, after a first one was made."""
    budgets = Store.open(url).budgets
    budgets.reserve("meters", "fdr 0.1", batch="monday", records=10, decide=lond)

    def decide(t: int, discoveries_before: int) -> tuple[int, float]:
        Path(inside).touch()
        time.sleep(PATIENCE)
        return 1, 0.5

    budgets.reserve("meters", "fdr 0.1", batch="tuesday", records=10, decide=decide)


def kill_within(work: Callable[..., None], arguments: Sequence[str], inside: Path) -> None:
    """Run `work` in a process and kill it, without a word, as soon as the file `inside` is there."""
    runner = multiprocessing.get_context("spawn").Process(target=work, args=tuple(arguments))
    runner.start()
    deadline = time.monotonic() + PATIENCE
    while not inside.exists():
        assert runner.is_alive(), "the process ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGKILL)
    runner.join(PATIENCE)
    assert runner.exitcode == -signal.SIGKILL
