"""The main job on real flights: what the demo promises, and that doing it again changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import FLOWGUARD, Demo, run_demo

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
        [FLOWGUARD, *arguments, "--json"], cwd=demo.folder, capture_output=True, text=True, timeout=300, check=True
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
        assert words in demo.printed
    page = (demo.folder / "runs/flights/reports/run.html").read_text()
    assert "another season" in page


def test_every_day_has_a_page_without_any_network(demo: Demo) -> None:
    pages = list((demo.folder / "runs/flights/reports").glob("*.html"))
    assert len(pages) == 93
    for page in pages:
        text = page.read_text()
        assert "http:" not in text
        assert "https:" not in text
        assert len(text) < 5_000_000


def test_the_demo_stays_within_three_gigabytes(demo: Demo) -> None:
    print(f"the demo took {demo.seconds:.0f} s and {demo.megabytes:.0f} MB")
    assert demo.megabytes < 3000


def test_the_demo_is_safe_to_repeat(demo: Demo) -> None:
    def files() -> dict[Path, int]:
        kept = [
            path for kind in ("scores", "reasons") for path in (demo.folder / "runs/flights" / kind).rglob("*.parquet")
        ]
        return {path: os.stat(path).st_mtime_ns for path in kept}

    before, scored = files(), manifests(demo)
    done = run_demo(demo.folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert files() == before
    assert manifests(demo) == scored
    versions = flowguard(demo, "models", "flights")
    assert [(one["version"], one["aliases"]) for one in versions] == [(1, ["champion"])]  # type: ignore[index,union-attr]
