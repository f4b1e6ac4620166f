from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from flowguard.review.web.pages import drift as pages
from flowguard.stages.enqueue import enqueue
from flowguard.stages.models import promote
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.score import score
from tests.conftest import write_project
from tests.review.web.room_sample import browser, scored_project


@pytest.fixture(scope="module")
def path(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = scored_project(trained_project, tmp_path_factory.mktemp("drift") / "project")
    text = path.read_text()
    path.write_text(text.replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.02"))
    recalibrate(path)
    promote(path.parents[1] / "runs", "meters", 2)
    score(path, batch="odd")
    enqueue(path)
    return path


@pytest.fixture(scope="module")
def desk(path: Path) -> TestClient:
    return browser(path)


def test_the_room_leads_to_the_drift_of_a_pipeline(desk: TestClient) -> None:
    assert desk.get("/drift").headers["location"] == "/p/meters/drift"


def test_the_newest_version_that_observed_batches_is_shown_and_others_can_be_chosen(desk: TestClient) -> None:
    text = desk.get("/p/meters/drift").text
    assert "drift under version 2" in text
    assert '<a href="?version=1">version 1</a>' in text
    assert '<a href="versions/2">meters version 2</a>' in text
    older = desk.get("/p/meters/drift?version=1").text
    assert "drift under version 1" in older
    assert '<a href="?version=2">version 2</a>' in older
    assert 'aria-current="true">Drift</a>' in older


def test_its_links_lead_to_pages_of_the_desk(desk: TestClient) -> None:
    text = desk.get("/p/meters/drift?version=1").text
    links = set(re.findall(r'href="([^"#]+)"', text[text.index("<main") : text.index("</main>")]))
    assert links - {"?version=2"} <= {"batches/odd", "batches/part0", "batches/part1", "batches/part2"}
    assert "batch-odd.html" not in text
    assert '<a href="../meters">meters</a>' in text
    assert desk.get("/p/meters/batches/odd").status_code == 200


def test_its_plots_are_drawn_once(desk: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    before = desk.get("/p/meters/drift?version=1").text
    monkeypatch.setattr(pages, "drift_report", None)
    assert desk.get("/p/meters/drift?version=1").text == before


def test_a_version_that_observed_nothing_is_no_page(desk: TestClient) -> None:
    answer = desk.get("/p/meters/drift?version=7")
    assert answer.status_code == 404
    assert "No batch of meters was scored by version 7. Those of 1, 2 were." in answer.text


def test_before_anything_was_scored_it_says_so(tmp_path: Path) -> None:
    answer = browser(write_project(tmp_path / "new")).get("/p/meters/drift")
    assert answer.status_code == 200
    assert "No batch of meters has been scored yet." in answer.text
