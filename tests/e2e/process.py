"""Processes that a test starts: found again and stopped with everything they started, whatever happens."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "FLOWGUARD_E2E_FAMILY"
FOREIGN = ("OMP_", "PREFECT_", "MLFLOW_", "PYTEST_", "FLOWGUARD_")


def plain_environment(**settings: str) -> dict[str, str]:
    """The environment of a user's terminal, without the tests' own settings, and with `settings`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, **settings}


@dataclass(frozen=True)
class Running:
    """A process and its family: all that it started, found by a mark in their environment, also in other sessions."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path

    def family(self) -> list[int]:
        """The ids of the living members."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # gone in the meantime, or somebody else's
                if f"{MARK}={self.mark}".encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def megabytes(self) -> float:
        """The largest memory that each living member has had so far, summed."""
        kilobytes = 0
        for member in self.family():
            with suppress(OSError, StopIteration):
                lines = Path(f"/proc/{member}/status").read_text().splitlines()
                kilobytes += int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
        return kilobytes / 1024

    def stop(self, seconds: float = 30.0) -> int:
        """Ask politely, as a terminal or a service manager does; the exit code. Fails when it does not end in time."""
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End the whole family without a word, as a lost machine does."""
        for _ in range(50):
            members = self.family()
            for member in members:
                with suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
            if not members:
                return

    def said(self, characters: int = 4000) -> str:
        """The end of what it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-characters:]


@contextmanager
def running(
    command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str], log: Path
) -> Iterator[Running]:
    """A process whose output goes to `log`; at the end of the block nothing of it lives on."""
    mark = secrets.token_hex(8)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    started = Running(process, mark, log)
    try:
        yield started
    finally:
        if process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                started.stop(15)
        started.kill()


def wait_until(true: Callable[[], bool], seconds: float, what: str, *, by: Running, every: float = 1.0) -> None:
    """Return as soon as `true()`; fail with what `by` printed when it does not come in time or the process ends."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s\n{by.said()}"
        code = by.process.poll()
        assert code is None, f"{what}: the process ended with {code} before\n{by.said()}"
        time.sleep(every)
