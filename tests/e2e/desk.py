"""A desk as it is run: a process of `flowguard review` on a copy of a project, and people at it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Dialog, Page, expect

from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord, Store, Verdict, Wanted
from tests.e2e.browser import PHONE, Visit, visit
from tests.e2e.conftest import FLOWGUARD
from tests.e2e.process import plain_environment, running, wait_until
from tests.e2e.web import answers, free_port

PASSWORD = "correct horse battery"
#: A test process has threads of its own; a desk on two cores needs no more than one.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}


@dataclass
class RunningDesk:
    """The desk of the project in `folder` at `url`, which ends with a slash; it shows `pipeline`."""

    folder: Path
    pipeline: str
    url: str
    _taken: set[str] = field(default_factory=set)

    @cached_property
    def workspace(self) -> Workspace:
        """The project as the desk has it."""
        return Workspace.open(self.folder / "pipelines" / f"{self.pipeline}.yaml")

    @property
    def store(self) -> Store:
        """What the desk remembers, read beside it."""
        return self.workspace.store

    def take(self, *, flagged: int = 1, cases: int = 0) -> str:
        """The smallest batch with that many undecided records and open cases that no test has had: tests of a desk
        decide on batches of their own."""
        tallies, open_cases = self.store.queue.tallies(self.pipeline), self.store.queue.open_cases(self.pipeline)
        fit = [
            (tally.open, batch)
            for batch, tally in tallies.items()
            if tally.open >= flagged and open_cases.get(batch, 0) >= cases and batch not in self._taken
        ]
        assert fit, f"no batch is left with {flagged} undecided records and {cases} open cases"
        batch = min(fit)[1]
        self._taken.add(batch)
        return batch

    def records(self, **wanted: Any) -> list[QueuedRecord]:
        """The records of a list, as the store has it."""
        return self.store.queue.records(self.pipeline, Wanted(**wanted), most=1000)

    def history(self, record_id: str) -> list[Verdict]:
        """What was decided on a record, oldest first."""
        return self.store.verdicts.history(self.pipeline, record_id)

    def batch_url(self, batch: str, query: str = "") -> str:
        """The page of a batch."""
        return f"{self.url}p/{self.pipeline}/batches/{quote(batch)}{'?' + query if query else ''}"

    def record_url(self, one: QueuedRecord) -> str:
        """The page of a record."""
        return f"{self.url}p/{self.pipeline}/records/{quote(one.record_id, safe='')}?batch={quote(one.batch)}"

    def strangest(self) -> QueuedRecord:
        """The flagged record that comes first."""
        return self.records()[0]

    def addresses(self) -> list[str]:
        """Every kind of page that this desk serves, each once, for whoever may see it."""
        one = self.strangest()
        (drawn, *_) = self.records(kind="drawn")
        root, busy = f"{self.url}p/{self.pipeline}", self._busy()
        case = self.store.queue.cases(self.pipeline, busy)[0]
        found = [
            f"{self.url}queue",
            f"{root}?all=true",
            self.batch_url(busy),
            self.batch_url(busy, "state=confirmed"),
            f"{root}/records?order=newest&p_most=0.0002",
            f"{root}/records?kind=drawn",
            f"{root}/cases/{quote(case.case_id, safe='')}?batch={quote(busy)}",
            self.record_url(one),
            self.record_url(drawn),
            f"{self.url}versions",
            f"{root}/versions/1",
            f"{self.url}drift",
            f"{self.url}rules",
            f"{root}/rules/new?record={quote(one.record_id, safe='')}&batch={quote(one.batch)}",
        ]
        return found

    def _busy(self) -> str:
        """The smallest batch with a handful of flagged records."""
        batches = self.store.queue.batches(self.pipeline)
        return min((one.flagged, one.batch) for one in batches if one.flagged >= 5)[1]


@contextmanager
def open_desk(folder: Path, pipeline: str, log: Path, *options: str) -> Iterator[RunningDesk]:
    """`flowguard review` on one pipeline of the project in `folder`, as a user types it, until the block ends."""
    port = free_port()
    command: list[str | Path] = [
        FLOWGUARD,
        "review",
        f"pipelines/{pipeline}.yaml",
        "--port",
        str(port),
        "--no-browser",
        *options,
    ]
    with running(command, cwd=folder, environment=plain_environment(**ENVIRONMENT), log=log) as process:
        url = f"http://127.0.0.1:{port}/"
        wait_until(lambda: answers(url), 90, "the desk", by=process, every=0.2)
        yield RunningDesk(folder, pipeline, url)
        process.process.send_signal(signal.SIGINT)  # Ctrl-C
        assert process.process.wait(20) == 0, process.said()
    said = log.read_text(encoding="utf-8")
    assert "Traceback" not in said, said
    assert said.rstrip().endswith("The desk is closed."), said


def copied(project: Path, folder: Path, *, only: Sequence[str] = ()) -> Path:
    """A copy of a project folder, or of some of its folders: what is decided there is decided nowhere else."""
    for part in only:
        shutil.copytree(project / part, folder / part, symlinks=True)
    return folder if only else shutil.copytree(project, folder, symlinks=True)


def flowguard(folder: Path, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """A command as a user types it in `folder`, with `given` on its standard input."""
    return subprocess.run(
        [FLOWGUARD, *arguments],
        cwd=folder,
        env=plain_environment(**ENVIRONMENT, COLUMNS="200"),
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def add_user(folder: Path, name: str, role: str) -> None:
    """A user of the desk in `folder` with the password of these tests."""
    ran = flowguard(folder, "users", "add", name, "--role", role, "--password-stdin", given=f"{PASSWORD}\n")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@contextmanager
def at_desk(browser: Browser, desk: RunningDesk, address: str, **settings: Any) -> Iterator[Visit]:
    """A fresh browser at `address`; at the end nothing was complained about, and nothing but the desk was asked."""
    with visit(browser, address, **settings) as seen:
        seen.page.on("dialog", lambda dialog: _opened(seen, dialog))
        yield seen
        whole(seen, desk)


def _opened(seen: Visit, dialog: Dialog) -> None:
    seen.complaints.append(f"a dialog: {dialog.message}")
    dialog.dismiss()


def whole(seen: Visit, desk: RunningDesk) -> None:
    """Fail where the browser complained or asked anything but the desk; what was seen so far is forgotten."""
    foreign = [one for one in seen.asked if not one.startswith((desk.url, "data:"))]
    assert not foreign, f"asked of others than the desk: {foreign}"
    assert not seen.complaints, seen.complaints
    seen.asked.clear()


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill the form and send it."""
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def barriers(page: Page, *, colours: bool = False) -> list[str]:
    """What axe finds serious or critical for people who read by ear, by keyboard or with weak eyes.

    With `colours` it looks at contrasts alone: what else it finds in the dark it found in the light.
    """
    limits = {"runOnly": {"type": "rule", "values": ["color-contrast"]}} if colours else {}
    found = Axe().run(page, options={"resultTypes": ["violations"], **limits}).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def too_wide(page: Page) -> int:
    """By how many pixels the page runs over the edge of a phone."""
    before = page.viewport_size
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    needed = int(page.evaluate("document.documentElement.scrollWidth"))
    if before is not None:
        page.set_viewport_size(before)
    return max(0, needed - PHONE["width"])


def settled(page: Page) -> None:
    """Wait until the parts that come after the page have come."""
    expect(page.locator("[hx-trigger^=load]:not(.estimates)")).to_have_count(0, timeout=60_000)
    expect(page.locator(".estimates:empty")).to_have_count(0)


def answer(browser_page: Page, method: str, url: str, **settings: Any) -> tuple[int, str]:
    """The status and the text of a request outside of a page, with the page's cookies."""
    reply = browser_page.context.request.fetch(url, method=method, max_redirects=0, **settings)
    return reply.status, reply.text()
