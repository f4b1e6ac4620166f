"""The main job on real flights: what the demo promises, and that doing it again changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import FLOWGUARD, Demo, run_demo
from tests.e2e.process import plain_environment, running, wait_until

pytestmark = pytest.mark.e2e

ODD = [
    ({"year": 2013, "month": 5, "day": 25, "carrier": "DL", "flight": 1499, "origin": "LGA"}, "air_time"),
    ({"year": 2013, "month": 7, "day": 2, "carrier": "EV", "flight": 4667, "origin": "EWR"}, "air_time"),
    ({"year": 2013, "month": 5, "day": 13, "carrier": "EV", "flight": 4292, "origin": "EWR"}, "air_time"),
    ({"year": 2013, "month": 6, "day": 17, "carrier": "US", "flight": 2136, "origin": "LGA"}, "air_time"),
    ({"year": 2013, "month": 6, "day": 15, "carrier": "MQ", "flight": 3535, "origin": "JFK"}, "dep_delay"),
]


def flowguard(demo: Demo, *arguments: str) -> object:
    done = subprocess.run(
        [FLOWGUARD, *arguments, "--json"],
        cwd=demo.folder,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def manifests(demo: Demo) -> list[dict]:
    paths = sorted((demo.folder / "runs/flights/manifests").glob("batch=*/version=1.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.fixture(scope="module")
def flagged(demo: Demo) -> list[dict]:
    return flowguard(demo, "flagged", "pipelines/flights.yaml", "--top", "1000")  # type: ignore[return-value]


@pytest.mark.parametrize(("key", "column"), ODD, ids=[f"{k['carrier']}{k['flight']}" for k, _ in ODD])
def test_the_odd_flights_are_found_for_the_right_reason(flagged: list[dict], key: dict, column: str) -> None:
    (record,) = [row for row in flagged if all(row[name] == value for name, value in key.items())]
    assert record["p_value"] <= 0.001
    assert record["reasons"][0].startswith(f"{column} ")
    assert "expected" in record["reasons"][0]


def test_every_day_of_the_summer_is_scored_whole(demo: Demo) -> None:
    scored = manifests(demo)
    assert [one["batch"] for one in scored][::91] == ["2013-05-01", "2013-07-31"]
    assert len(scored) == 92
    for one in scored:
        assert one["read"] == one["scored"] + sum(one["quarantined"].values())
    assert sum(one["read"] for one in scored) == 86_464


def test_the_rate_holds_on_days_that_nothing_was_fitted_on(demo: Demo) -> None:
    (bundle,) = (demo.folder / "runs/.bundles").iterdir()
    holdout = json.loads((bundle / "provenance.json").read_text())["holdout"]
    assert abs(holdout["observed"] - holdout["asked"]) <= 3 * holdout["standard_error"]
    assert holdout["within"] is True
    assert holdout["units"] >= 10


def test_asked_and_observed_stand_side_by_side_and_the_page_says_that_summer_differs(demo: Demo) -> None:
    for words in ("Asked and observed", "Hold-out", "2013-05", "2013-06", "2013-07"):
        assert words in demo.first.printed
    page = (demo.folder / "runs/flights/reports/run.html").read_text(encoding="utf-8")
    assert "another season" in page


def test_every_day_has_a_page_without_any_network(demo: Demo) -> None:
    pages = list((demo.folder / "runs/flights/reports").glob("*.html"))
    assert len(pages) == 94, "one a day, the run's and that of drift"
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "http:" not in text
        assert "https:" not in text
        assert len(text.encode()) < 5_000_000


def test_the_demo_keeps_quiet_and_within_three_gigabytes(demo: Demo) -> None:
    assert "Traceback" not in demo.first.printed
    assert "Error flushing" not in demo.first.printed
    assert 100 < demo.first.megabytes < 3000, "all its processes together"


def test_the_demo_is_safe_to_repeat(demo: Demo, tmp_path: Path) -> None:
    def files() -> dict[Path, int]:
        kept = [
            path for kind in ("scores", "reasons") for path in (demo.folder / "runs/flights" / kind).rglob("*.parquet")
        ]
        return {path: os.stat(path).st_mtime_ns for path in kept}

    before, scored = files(), manifests(demo)
    again = run_demo(demo.folder, tmp_path / "again.txt")
    assert again.code == 0, again.printed[-4000:]
    trained = re.compile(r"training on [\d,]+ records")
    assert trained.search(demo.first.printed)
    assert not trained.search(again.printed)
    assert "nothing done" in again.printed
    assert files() == before
    assert manifests(demo) == scored
    versions = flowguard(demo, "models", "flights")
    assert [(one["version"], one["aliases"]) for one in versions] == [(1, ["champion"])]  # type: ignore[index,union-attr]


def test_a_demo_that_is_told_to_stop_leaves_nothing_running_and_nothing_that_counts(demo: Demo, tmp_path: Path) -> None:
    for part in ("flows", "pipelines", "data"):
        shutil.copytree(demo.folder / part, tmp_path / part)
    log = tmp_path / "log.txt"
    with running([FLOWGUARD, "demo"], cwd=tmp_path, environment=plain_environment(), log=log) as begun:
        wait_until(lambda: "training on" in begun.said(), 120, "training begins", by=begun, every=0.2)
        assert begun.stop(60) not in (0, 1, 2)
        assert begun.family() == [], "the in-process Prefect server has stopped too"
    assert "Traceback" not in begun.said()
    assert not (tmp_path / "runs/flights/manifests").exists()
