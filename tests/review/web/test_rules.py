from __future__ import annotations

import html
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from flowguard.stages import rules as stage
from flowguard.stages.enqueue import enqueue
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord, Wanted
from tests.conftest import write_project
from tests.review.web.conftest import token
from tests.review.web.room_sample import browser, scored_project
from tests.stages.test_why import LIKE, ODD

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_project(trained_project, tmp_path_factory.mktemp("rules") / "project")


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored.parents[1], tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


@pytest.fixture
def desk(path: Path) -> TestClient:
    return browser(path)


def queued(path: Path, id: int = ODD, kind: Any = "flagged") -> QueuedRecord:
    (one,) = Workspace.open(path).store.queue.records("meters", Wanted(batch="odd", kind=kind, text=str(id)), most=1)
    return one


def form_of(desk: TestClient, path: Path) -> dict[str, Any]:
    """The fields of the form as a browser would send them unchanged."""
    text = desk.get("/p/meters/rules/new", params={"record": queued(path).record_id, "batch": "odd"}).text
    ticked = re.findall(r'type="checkbox" name="(\w+)" value="([^"]+)" checked', text)
    chosen = re.findall(r'<select name="([^"]+)">.*?value="([^"]+)" selected', text)
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text)
    until = re.search(r'name="until"[^>]* value="([^"]+)"', text)
    assert until is not None
    form: dict[str, Any] = {**dict(hidden), **dict(chosen), "until": until[1], "why": "a <test> rig"}
    for name in ("column", "where"):
        form[name] = [html.unescape(value) for kind, value in ticked if kind == name]
    return form


def made(desk: TestClient, path: Path, **changes: Any) -> httpx.Response:
    return desk.post("/p/meters/rules", data=form_of(desk, path) | changes)


def test_a_desk_without_rules_says_so(desk: TestClient, tmp_path: Path) -> None:
    assert desk.get("/rules").headers["location"] == "/p/meters/rules"
    assert "No rule is in force: every flagged record is shown." in desk.get("/p/meters/rules").text
    assert "No rule is in force" in browser(write_project(tmp_path / "new")).get("/p/meters/rules").text


def test_the_form_is_drafted_from_the_record_that_is_looked_at(desk: TestClient, path: Path) -> None:
    one = queued(path)
    text = desk.get("/p/meters/rules/new", params={"record": one.record_id, "batch": "odd"}).text
    form = form_of(desk, path)
    reasons = {reason["column"]: reason["words"] for reason in one.document["reasons"]}
    assert set(form["column"]) <= set(reasons)
    assert form["column"]
    for column in form["column"]:
        assert form[f"is.{column}"] in ("above", "below", "any")
        assert html.escape(reasons[column]) in text
    assert form["where"] == ["site"], "the narrowest rule is where one begins"
    assert f"site <bdi><strong>{one.document['values']['site']}</strong>" in text
    assert f"id <bdi><strong>{ODD}</strong>" in text
    assert form["until"] == (TODAY + timedelta(90)).isoformat()
    assert re.search(r"It would have kept <strong>\d+ records?</strong> of the queue", text)
    assert f'href="/p/meters/records?state=open&amp;column={form["column"][0]}&amp;in.site=' in text
    page = desk.get(f"/p/meters/records/{one.record_id}", params={"batch": "odd"}).text
    assert f'href="/p/meters/rules/new?record={one.record_id}&amp;batch=odd"' in page


def test_the_preview_counts_what_the_form_says(desk: TestClient, path: Path) -> None:
    form = form_of(desk, path)
    narrow = {**form, "where": ["site", "id"]}

    def look(asked: dict[str, Any]) -> str:
        asked = {name: value for name, value in asked.items() if name not in ("csrftoken", "why")}
        return desk.get("/p/meters/rules/preview", params=asked, headers={"hx-request": "true"}).text

    assert "It would have kept <strong>1 record</strong> of the queue away, in 1 batch." in look(narrow)
    assert str(ODD) in look(narrow)
    assert "<html" not in look(narrow)
    assert "Choose at least one column that may be wrong" in look({**form, "column": []})
    bounded = look(
        {**narrow, f"bound.{form['column'][0]}": "-1e9" if form[f"is.{form['column'][0]}"] == "above" else "1e9"}
    )
    assert "It would have kept nothing of the queue away." in bounded
    assert "Not this record itself: a column that counts for it is not chosen, or a bound leaves it out." in bounded


def test_a_rule_counts_for_batches_scored_from_then_on_and_the_queue_shows_it(desk: TestClient, path: Path) -> None:
    answer = made(desk, path, where=["id"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/p/meters/rules")
    (rule,) = Workspace.open(path).store.rules.all("meters")
    assert rule.scope["where"] == {"id": [str(ODD)]}
    assert (rule.why, rule.expires_at.date()) == ("a <test> rig", TODAY + timedelta(90))
    assert queued(path).rule is None, "the batch was scored before"
    text = desk.get("/p/meters/rules").text
    assert "Rule 1 counts for batches that are scored from now on" in text
    assert "a &lt;test&gt; rig" in text
    assert f"where id {ODD}" in text
    score(path, batch="odd", force=True)
    enqueue(path)
    assert queued(path, kind="suppressed").rule == 1
    assert queued(path, LIKE).rule is None
    text = desk.get("/p/meters/rules").text
    assert '<td class="num">1</td>' in text
    assert 'href="/p/meters/records?kind=suppressed"' in text
    assert str(ODD) in desk.get("/p/meters/records?kind=suppressed").text


def test_a_rule_is_revoked_once_and_stays_listed(desk: TestClient, path: Path) -> None:
    made(desk, path)
    answer = desk.post("/p/meters/rules/1/revoke", data={"csrftoken": token(desk, "/p/meters/rules")})
    assert answer.status_code == 303
    text = desk.get("/p/meters/rules").text
    assert "Rule 1 is revoked: from now on everything is shown that it kept away." in text
    assert "No rule is in force" in text
    assert "revoked by" in text[text.index("No longer in force") :]
    desk.post("/p/meters/rules/1/revoke", data={"csrftoken": token(desk, "/p/meters/rules")})
    assert "already" in desk.get("/p/meters/rules").text
    desk.post("/p/meters/rules/7/revoke", data={"csrftoken": token(desk, "/p/meters/rules")})
    assert "meters has no rule 7" in desk.get("/p/meters/rules").text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"why": " "}, "must say why"),
        ({"column": []}, "Choose at least one column"),
        ({"until": "tomorrow"}, "The last day is &#39;tomorrow&#39;"),
        ({"until": (TODAY - timedelta(1)).isoformat()}, "expected one from today to"),
        ({"until": (TODAY + timedelta(366)).isoformat()}, "expected one from today to"),
        ({"is.power": "sideways"}, "expected one of"),
        ({"bound.power": "x"}, "expected a number"),
        ({"is.power": "any", "bound.power": "3"}, "A bound goes with too high or too low"),
    ],
)
def test_what_cannot_be_a_rule_comes_back_as_the_form_with_what_is_wrong(
    desk: TestClient, path: Path, changes: dict[str, Any], words: str
) -> None:
    answer = made(desk, path, **({"column": ["power", "flow"]} | changes))
    assert answer.status_code == 400
    assert words in answer.text
    assert 'id="rule"' in answer.text
    if "why" not in changes:
        assert "a &lt;test&gt; rig</textarea>" in answer.text, "what was typed is kept"
    assert Workspace.open(path).store.rules.all("meters") == []


def test_without_scripts_one_can_look_before_a_rule_is_made(desk: TestClient, path: Path) -> None:
    answer = made(desk, path, look="1", where=["id"])
    assert answer.status_code == 200
    assert "<strong>1 record</strong>" in answer.text
    assert Workspace.open(path).store.rules.all("meters") == []


def test_a_rule_that_hides_what_was_confirmed_is_warned_of(desk: TestClient, path: Path) -> None:
    from flowguard.stages.verdicts import decide

    decide(path, queued(path).record_id, "confirmed", batch="odd", who="ada")
    text = desk.get("/p/meters/rules/new", params={"record": queued(path).record_id, "batch": "odd"}).text
    assert "confirmed as an anomaly: the rule would hide such" in text
    made(desk, path, where=["id"])
    score(path, batch="odd", force=True)
    enqueue(path)
    assert '<span class="tag alert">1 confirmed</span>' in desk.get("/p/meters/rules").text


@pytest.mark.parametrize("asked", [{"record": "0" * 32, "batch": "odd"}, {"record": "x", "batch": "none"}])
def test_there_is_no_form_for_a_record_that_is_not_flagged(desk: TestClient, asked: dict[str, str]) -> None:
    answer = desk.get("/p/meters/rules/new", params=asked)
    assert answer.status_code == 404
    assert "is not among the flagged ones" in answer.text


def test_a_viewer_sees_rules_and_changes_none(path: Path) -> None:
    stage.make(path, stage.Scope.read({"columns": {"flow": {}}}), why="spring cleaning", who="ada", batches=0)
    viewer = browser(path, mode="proxy", proxies=("127.0.0.1",), proxy_role="viewer")
    viewer.headers["X-Forwarded-User"] = "vic"
    text = viewer.get("/p/meters/rules").text
    assert "spring cleaning" in text
    assert "Revoke" not in re.sub(r"<caption.*?</caption>", "", text)
    found = re.search(r'"x-csrftoken": "([^"]+)"', text)
    assert found is not None
    assert viewer.post("/p/meters/rules/1/revoke", data={"csrftoken": found[1]}).status_code == 403
    asked = {"record": queued(path).record_id, "batch": "odd"}
    assert viewer.get("/p/meters/rules/new", params=asked).status_code == 403


def test_a_form_without_the_token_changes_nothing(desk: TestClient, path: Path) -> None:
    made_of = form_of(desk, path)
    del made_of["csrftoken"]
    assert desk.post("/p/meters/rules", data=made_of).status_code == 403
    assert Workspace.open(path).store.rules.all("meters") == []
