"""The demo's pages in a real browser: nothing breaks, nothing leaves the machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Demo

pytestmark = pytest.mark.e2e
CHROMIUM = shutil.which("chromium")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
]


@pytest.mark.parametrize("name", ["run.html", "batch-2013-05-25.html"])
@pytest.mark.parametrize("width", [1200, 390])
def test_a_page_renders_without_a_complaint(demo: Demo, tmp_path: Path, name: str, width: int) -> None:
    assert CHROMIUM, "chromium is needed: see .ci/run"
    picture = tmp_path / "page.png"
    page = demo.folder / "runs/flights/reports" / name
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000"]
    done = subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert picture.stat().st_size > 20_000
    complaints = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert complaints == []


def test_a_flagged_flight_reads_in_words(demo: Demo, tmp_path: Path) -> None:
    assert CHROMIUM, "chromium is needed: see .ci/run"
    page = demo.folder / "runs/flights/reports/batch-2013-05-25.html"
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "1499" in shown
    assert "65 min" in shown
