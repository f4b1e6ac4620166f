"""One run of the demo for the whole session, in a copy of flows/ and pipelines/; one browser per module."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import chromium
from tests.e2e.process import plain_environment, running

ROOT = Path(__file__).resolve().parents[2]
FLOWGUARD = Path(sys.executable).with_name("flowguard")
PATIENCE = 720.0
MEASURED = pytest.StashKey[list[str]]()


@dataclass(frozen=True)
class Ran:
    """How a run of the demo ended: exit code, what it printed on standard output and error, seconds, peak memory."""

    code: int
    printed: str
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Demo:
    """A project folder in which the demo has run from nothing."""

    folder: Path
    first: Ran


def run_demo(folder: Path, log: Path) -> Ran:
    """`flowguard demo` as a user types it in `folder`."""
    started, megabytes = time.monotonic(), 0.0
    with running([FLOWGUARD, "demo"], cwd=folder, environment=plain_environment(), log=log) as demo:
        while demo.process.poll() is None:
            megabytes = max(megabytes, demo.megabytes())
            assert time.monotonic() - started < PATIENCE, f"the demo does not end\n{demo.said()}"
            time.sleep(0.2)
        seconds = time.monotonic() - started
    return Ran(demo.process.returncode, log.read_text(encoding="utf-8"), seconds, megabytes)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Demo:
    """The demo, run once from nothing."""
    folder = tmp_path_factory.mktemp("demo")
    for part in ("flows", "pipelines"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    first = run_demo(folder, tmp_path_factory.mktemp("log") / "demo.txt")
    measured = f"flowguard demo: {first.seconds:.0f} s, {first.megabytes:,.0f} MB at most"
    pytestconfig.stash.setdefault(MEASURED, []).append(measured)
    assert first.code == 0, first.printed[-4000:]
    return Demo(folder, first)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window. For one module only: it keeps an event loop, which other tests start themselves."""
    with chromium() as started:
        yield started


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, then all that look at the demo, so that mostly one worker runs it; others fill up."""
    with_demo = {item.path for item in items if "demo" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path.name != "test_night.py", item.path not in with_demo))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands what it measured to the process that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = session.config.stash.get(MEASURED, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A worker has ended: keep what it measured."""
    node.config.stash.setdefault(MEASURED, []).extend(getattr(node, "workeroutput", {}).get("measured", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured: times are told, never judged, because machines differ."""
    for line in config.stash.get(MEASURED, []):
        terminalreporter.write_line(line)
