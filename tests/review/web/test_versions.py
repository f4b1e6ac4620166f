from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from flowguard.registry import Registry, Version
from flowguard.review.access import hashed
from flowguard.stages.models import promote
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.train import train
from flowguard.stages.verdicts import decide
from flowguard.stages.workspace import Workspace
from flowguard.store import Wanted
from tests.review.web.conftest import PASSWORD, log_in, token
from tests.review.web.room_sample import browser, scored_project


@pytest.fixture(scope="module")
def path(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = scored_project(trained_project, tmp_path_factory.mktemp("versions") / "project")
    text = path.read_text()
    path.write_text(text.replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.02"))
    recalibrate(path)
    promote(path.parents[1] / "runs", "meters", 2, who="ada", why="twice <as> many")
    return path


@pytest.fixture(scope="module")
def desk(path: Path) -> TestClient:
    return browser(path)


def test_the_room_leads_to_the_versions_of_a_pipeline(desk: TestClient) -> None:
    answer = desk.get("/versions")
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/meters/versions")
    assert '<a href="/versions">Versions</a>' in desk.get("/queue").text


def test_versions_are_listed_newest_first_with_what_they_keep_of_their_promise(desk: TestClient) -> None:
    text = desk.get("/p/meters/versions").text
    assert re.findall(r'data-open>version (\d)</a>((?: <span class="tag">\w+</span>)*)', text) == [
        ("2", ' <span class="tag">champion</span>'),
        ("1", ""),
    ]
    assert 'aria-current="true">Versions</a>' in text
    assert "recalibrated version 1" in text
    assert "maf" in text
    assert "2.00\u00a0%" in text
    assert "1.00\u00a0%" in text
    assert '<a href="/p/meters/records?version=1">' in text


def test_the_journal_says_who_made_which_version_the_champion_and_why(desk: TestClient) -> None:
    text = desk.get("/p/meters/versions").text
    journal = text[text.index('id="journal"') :]
    assert "twice &lt;as&gt; many" in journal
    assert '<a href="/p/meters/versions/2">version 2</a><span class="before"> instead of version 1</span>' in journal
    assert journal.index("twice") < journal.index("trained"), "the latest first"


def test_a_version_has_a_page_of_its_own(desk: TestClient) -> None:
    text = desk.get("/p/meters/versions/1").text
    assert text.count("<svg") == 6, "training, calibration and flags, each for a desk and a phone"
    assert "var(--accent)" in text
    assert "#010101" not in text
    assert re.search(r'href="../batches/odd"', text)
    assert 'href="../records?version=1"' in text
    assert 'href="../drift?version=1"' in text
    assert 'href="../../meters"' in text
    assert "Hold-out: 1.00 % asked" in text.replace("\u00a0", " ")
    assert "trained" in text
    assert '<link rel="stylesheet"' in text
    assert "<style>" not in text


def test_a_version_that_was_recalibrated_says_from_which(desk: TestClient) -> None:
    text = desk.get("/p/meters/versions/2").text
    assert "Recalibrated from version 1, whose weights it has." in text
    assert "It has scored no batch yet." in text
    assert '<a href="1">← version 1</a>' in text


def test_an_alias_leads_to_the_version_that_has_it(desk: TestClient) -> None:
    answer = desk.get("/p/meters/versions/champion")
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/meters/versions/2")


@pytest.mark.parametrize("address", ["/p/meters/versions/9", "/p/meters/versions/challenger", "/p/none/versions"])
def test_what_is_not_there_is_a_page_that_says_so(desk: TestClient, address: str) -> None:
    answer = desk.get(address)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


def test_verdicts_show_beside_the_version_that_they_were_given_on(path: Path, desk: TestClient) -> None:
    from flowguard.stages.workspace import Workspace

    (one,) = Workspace.open(path).store.queue.records("meters", Wanted(batch="odd"), most=1)
    decide(path, one.record_id, "confirmed", batch="odd", who="ada")
    for _ in range(50):
        text = desk.get("/p/meters/versions").text
        if "1 verdict<" in text:
            break
    assert re.search(r"100\u00a0% \(.* to 100\u00a0%\)", text)
    part = desk.get("/p/meters/versions/1/estimates").text
    assert "1 decided record" in part
    assert "No verdict yet" in desk.get("/p/meters/versions/2/estimates").text
    assert "<html" not in part


def test_a_registry_that_cannot_be_reached_is_said_and_the_journal_still_shows(
    desk: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    answer = desk.get("/p/meters/versions")
    assert answer.status_code == 503
    assert "The MLflow server http://127.0.0.1:9 does not answer" in answer.text
    assert "twice &lt;as&gt; many" in answer.text
    answer = desk.get("/p/meters/versions/1")
    assert answer.status_code == 503
    assert "The registry does not answer" in answer.text


def test_a_page_asks_the_registry_once(desk: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []
    versions = Registry.versions

    def counted(self: Registry, name: str | None = None) -> list[Version]:
        asked.append(name)
        return versions(self, name)

    monkeypatch.setattr(Registry, "versions", counted)
    desk.get("/p/meters/versions")
    desk.get("/p/meters/versions/1")
    assert asked == ["meters", "meters"]


def test_a_pipeline_without_versions_says_how_to_make_one(tmp_path: Path) -> None:
    from tests.conftest import write_project

    text = browser(write_project(tmp_path / "new")).get("/p/meters/versions").text
    assert "No version of meters is registered yet." in text
    assert "No version has had an alias yet." in text


def test_an_admin_makes_a_version_the_champion_and_a_reviewer_cannot(tmp_path: Path, path: Path) -> None:
    mine = tmp_path / "project"
    shutil.copytree(path.parents[1], mine)
    pipeline = mine / "pipelines" / path.name
    desk = browser(pipeline)
    assert "promote" not in desk.get("/p/meters/versions/2").text, "it is the champion"
    page = desk.get("/p/meters/versions/1").text
    assert 'action="/p/meters/versions/1/promote"' in page
    assert 'name="champion" value="2"' in page
    form = {"csrftoken": token(desk, "/queue"), "champion": "2", "why": "too many alarms"}
    answer = desk.post("/p/meters/versions/1/promote", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/meters/versions/1")
    text = desk.get("/p/meters/versions/1").text
    assert "Version 1 is the champion" in text
    assert "too many alarms" in text
    form = {"csrftoken": token(desk, "/queue"), "champion": "2"}  # as an old page has it
    assert desk.post("/p/meters/versions/2/promote", data=form).status_code == 409
    store = Workspace.open(pipeline).store
    store.users.put("rita", "reviewer", hashed("rita", PASSWORD), by="root")
    other = browser(pipeline, mode="password")
    assert log_in(other, "rita") == 303
    assert "promote" not in other.get("/p/meters/versions/2").text
    form = {"csrftoken": token(other, "/queue"), "champion": "1"}
    assert other.post("/p/meters/versions/2/promote", data=form).status_code == 403


def test_a_version_whose_gate_failed_is_promoted_for_a_reason_alone(tmp_path: Path, path: Path) -> None:
    mine = tmp_path / "project"
    shutil.copytree(path.parents[1], mine)
    pipeline = mine / "pipelines" / path.name
    pipeline.write_text(pipeline.read_text().replace("epochs: 3", "epochs: 1"))
    trained = train(pipeline)
    assert trained.gated is not None
    assert trained.gated.outcome == "failed"
    desk = browser(pipeline)
    assert '<span class="when">gate failed</span>' in desk.get("/p/meters/versions").text
    page = desk.get("/p/meters/versions/3").text
    words = next(one.sentence for one in trained.gated.checks if one.name == "likelihood")
    assert page.count(words) == 2, "among the checks, and above the form"
    assert '<input type="hidden" name="despite_gate" value="true">' in page
    assert 'name="why" maxlength="1000" autocomplete="off" required>' in page
    assert "despite_gate" not in desk.get("/p/meters/versions/1").text
    form = {"csrftoken": token(desk, "/queue"), "champion": "2", "why": "I know better"}
    refused = desk.post("/p/meters/versions/3/promote", data=form)  # as a page has it from before the gate
    assert refused.status_code == 400
    assert words in refused.text
    form |= {"despite_gate": "true"}
    assert desk.post("/p/meters/versions/3/promote", data=form | {"why": " "}).status_code == 400
    assert desk.post("/p/meters/versions/3/promote", data=form).status_code == 303
    assert "I know better (despite the gate: likelihood)" in desk.get("/p/meters/versions/3").text
