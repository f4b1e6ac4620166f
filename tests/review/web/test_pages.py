"""The pages of the desk on a real scored batch: what they list, what they change, what they never run."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from flowguard.review import AUDITED
from flowguard.review.web.app import create_app
from flowguard.review.web.desk import Desk
from flowguard.stages.enqueue import enqueue
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord, Wanted
from tests.conftest import meters
from tests.review.web.conftest import BASE, token

HTMX = {"HX-Request": "true"}


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one scored batch in which thirty meters are odd; copied, never changed."""
    folder = tmp_path_factory.mktemp("desk") / "project"
    shutil.copytree(trained_project, folder)
    table = meters(600, 77)
    power = table["power"].to_numpy().copy()
    power[:30] += 40
    table = table.set_column(table.schema.get_field_index("power"), "power", pa.array(power))
    pq.write_table(table, folder / "data" / "odd.parquet")
    pipeline = folder / "pipelines" / "meters.yaml"
    score(pipeline, batch="odd")
    enqueue(pipeline)
    return folder


@pytest.fixture
def pipeline(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project" / "pipelines" / "meters.yaml"


@pytest.fixture
def browser(pipeline: Path) -> TestClient:
    root = pipeline.parents[1]
    app = create_app(Desk(pipelines={"meters": pipeline}, root=root, runs=root / "runs", mode="open"))
    return TestClient(app, base_url=BASE, client=("127.0.0.1", 50_000), follow_redirects=False)


def records(pipeline: Path, **wanted: object) -> list[QueuedRecord]:
    return Workspace.open(pipeline).store.queue.records("meters", Wanted(**wanted), most=1000)  # type: ignore[arg-type]


def post(browser: TestClient, path: str, *, htmx: bool = True, **fields: Any) -> Any:
    data = {"csrftoken": token(browser, "/queue"), **{name: str(value) for name, value in fields.items()}}
    return browser.post(path, data=data, headers=HTMX if htmx else {})


def place(one: QueuedRecord) -> str:
    return f"/p/meters/records/{one.record_id}"


def decide(browser: TestClient, one: QueuedRecord, decision: str, seen: object = "", **fields: Any) -> Any:
    return post(browser, f"{place(one)}/decide", batch=one.batch, decision=decision, seen=seen, **fields)


@pytest.mark.parametrize(
    "path",
    [
        "/queue",
        "/queue?all=true",
        "/p/meters",
        "/p/meters/batches/odd",
        "/p/meters/batches/odd?state=open&column=power&in.site=north&p_most=0.01&order=key&page=1",
        "/p/meters/records",
        "/p/meters/records?kind=drawn",
        "/p/meters/records?kind=suppressed",
        "/p/meters/estimates",
    ],
)
def test_every_list_answers(browser: TestClient, path: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/p/else", 404, "has no pipeline"),
        ("/p/meters/batches/monday", 404, "is not in the queue"),
        ("/p/meters/records?kind=x", 400, "expected one of flagged"),
        ("/p/meters/records?page=0", 400, "expected 1 to"),
        ("/p/meters/records?page=1e9", 400, "expected a whole number"),
        ("/p/meters/records?p_most=nan", 400, "expected a number"),
        ("/p/meters/records/zz", 404, "No scored record"),
        ("/p/meters/records/00000000000000000000000000000000", 404, "No scored record"),
        ("/p/meters/cases/none?batch=odd", 404, "no case"),
    ],
)
def test_an_address_that_leads_nowhere_says_so(browser: TestClient, path: str, status: int, words: str) -> None:
    answer = browser.get(path)
    assert answer.status_code == status
    assert words in answer.text


def test_lists_are_turned_and_narrowed(browser: TestClient, pipeline: Path) -> None:
    total = len(records(pipeline))
    assert total > 25
    first, second = browser.get("/p/meters/batches/odd").text, browser.get("/p/meters/batches/odd?page=2").text
    assert first.count('data-key="c"') == 25 + AUDITED, "with those drawn from the unflagged"
    assert second.count('data-key="c"') == total - 25
    north = records(pipeline, context={"site": "north"})
    shown = browser.get("/p/meters/batches/odd?in.site=north").text
    assert shown.count('data-key="c"') == min(25, len(north))
    key = str(north[0].document["key"]["id"])
    assert browser.get(f"/p/meters/records?q={key}").text.count('data-key="c"') == 1


def test_a_record_shows_its_reasons_its_values_and_leads_to_the_next(browser: TestClient, pipeline: Path) -> None:
    one, two = records(pipeline)[:2]
    text = browser.get(f"{place(one)}?batch=odd").text
    assert "kW" in text
    assert str(one.document["key"]["id"]) in text
    assert f"{place(two)}?batch=odd" in text.replace("&amp;", "&")
    near = browser.get(f"{place(one)}/counterparts?batch=odd").text
    assert "The nearest ordinary records" in near
    drawn = records(pipeline, kind="drawn")[0]
    assert "drawn at random" in browser.get(f"{place(drawn)}?batch=odd").text


def test_a_verdict_and_its_undo_are_entries_with_who_and_note(browser: TestClient, pipeline: Path) -> None:
    one = records(pipeline)[0]
    answer = decide(browser, one, "confirmed", note=" a burst\npipe ")
    assert answer.status_code == 200
    assert 'aria-pressed="true"' in answer.text
    (entry,) = Workspace.open(pipeline).store.verdicts.history("meters", one.record_id)
    assert (entry.decision, entry.note, entry.version, entry.score) == ("confirmed", "a burst\npipe", 1, one.score)
    answer = post(browser, f"{place(one)}/undo", batch="odd", seen=entry.id, view="record")
    assert "taken back, undecided now" in answer.text
    assert 'id="history"' in answer.text
    history = Workspace.open(pipeline).store.verdicts.history("meters", one.record_id)
    assert [one.decision for one in history] == ["confirmed", None]


def test_without_scripts_a_form_leads_back_to_its_page_and_that_says_what_happened(
    browser: TestClient, pipeline: Path
) -> None:
    one = records(pipeline)[0]
    back = "/p/meters/batches/odd?state=open"
    fields = {"batch": "odd", "decision": "unsure", "next": back}
    answer = post(browser, f"{place(one)}/decide", htmx=False, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, back)
    assert ": unsure." in browser.get(back).text
    assert ": unsure." not in browser.get(back).text, "said once"
    answer = post(browser, f"{place(one)}/decide", htmx=False, **fields | {"next": "//evil.example/", "seen": 1})
    assert answer.headers["location"] == "/"


def test_who_was_faster_is_shown_and_nothing_is_overwritten(browser: TestClient, pipeline: Path) -> None:
    one = records(pipeline)[0]
    decide(browser, one, "confirmed")
    answer = decide(browser, one, "false_alarm")  # from a page that was loaded before
    assert "after you loaded this page. Yours was not written." in answer.text
    store = Workspace.open(pipeline).store
    (entry,) = store.verdicts.history("meters", one.record_id)
    assert f'name="seen" value="{entry.id}"' in answer.text, "who looks now has seen it"
    decide(browser, one, "false_alarm", seen=entry.id)
    assert [e.decision for e in store.verdicts.history("meters", one.record_id)] == ["confirmed", "false_alarm"]


def test_a_case_is_decided_at_once_but_for_what_was_decided_alone(browser: TestClient, pipeline: Path) -> None:
    store = Workspace.open(pipeline).store
    case = store.queue.cases("meters", "odd")[0]
    mine = records(pipeline, batch="odd", case_id=case.case_id)
    assert len(mine) >= 20
    decide(browser, mine[0], "unsure")
    address = f"/p/meters/cases/{case.case_id}"
    assert f"all {len(mine) - 1} undecided records" in browser.get(f"{address}?batch=odd").text
    answer = post(browser, f"{address}/decide", htmx=False, batch="odd", decision="confirmed", seen=1)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{address}?batch=odd")
    tally = store.queue.tallies("meters", "odd")["odd"]
    assert (tally.confirmed, tally.unsure) == (len(mine) - 1, 1)
    last = store.verdicts.newest("meters")
    post(browser, f"{address}/undo", htmx=False, batch="odd", seen=last)
    tally = store.queue.tallies("meters", "odd")["odd"]
    assert (tally.confirmed, tally.unsure) == (0, 1)


def test_a_case_with_a_record_that_somebody_decided_on_meanwhile_is_not_decided(
    browser: TestClient, pipeline: Path
) -> None:
    store = Workspace.open(pipeline).store
    case = store.queue.cases("meters", "odd")[0]
    one = records(pipeline, batch="odd", case_id=case.case_id)[0]
    first = decide(browser, one, "confirmed")
    assert first.status_code == 200
    entry = store.verdicts.newest("meters")
    post(browser, f"{place(one)}/undo", batch="odd", seen=entry)
    fields = {"batch": "odd", "decision": "confirmed", "seen": entry}  # as of before the undo
    answer = post(browser, f"/p/meters/cases/{case.case_id}/decide", htmx=False, **fields)
    assert answer.status_code == 409
    assert store.queue.tallies("meters", "odd")["odd"].confirmed == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"decision": "guilty"}, 400), ({"seen": "x"}, 400), ({"batch": "monday"}, 404)],
)
def test_a_form_that_says_nonsense_is_refused(
    browser: TestClient, pipeline: Path, fields: dict[str, str], status: int
) -> None:
    one = records(pipeline)[0]
    answer = post(browser, f"{place(one)}/decide", **{"batch": "odd", "decision": "unsure"} | fields)
    assert answer.status_code == status
    assert Workspace.open(pipeline).store.verdicts.newest("meters") == 0


def test_exports_hold_the_list_that_was_asked_for(browser: TestClient, pipeline: Path) -> None:
    one = records(pipeline)[0]
    decide(browser, one, "confirmed")
    answer = browser.get("/p/meters/export.csv?batch=odd")
    assert re.search(r'filename="meters-odd-flagged.csv"', answer.headers["content-disposition"])
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["record_id"] for row in rows] == [each.record_id for each in records(pipeline)]
    assert rows[0]["verdict"] == "confirmed"
    assert rows[0]["id"] == str(one.document["key"]["id"])
    found = pq.read_table(io.BytesIO(browser.get("/p/meters/export.parquet?state=open").content))
    assert found.num_rows == len(rows) - 1
    assert found["p_value"].to_pylist() == [each.p_value for each in records(pipeline, state="open")]
    assert all(found["reasons"].to_pylist())


def test_a_record_that_left_the_queue_still_has_its_page_and_its_verdicts(browser: TestClient, pipeline: Path) -> None:
    one = records(pipeline)[0]
    decide(browser, one, "confirmed", note="a burst pipe")
    workspace = Workspace.open(pipeline)
    whole = workspace.store.queue.batch("meters", "odd")
    assert whole is not None
    workspace.store.queue.put(whole, [], [])
    text = browser.get(place(one)).text
    assert "It is not in the queue" in text
    assert "a burst pipe" in text


def test_nothing_but_an_id_is_looked_up(browser: TestClient, pipeline: Path) -> None:
    key = records(pipeline)[0].document["key"]["id"]
    for asked in (f"id={key}", str(key)):
        assert browser.get(f"/p/meters/records/{asked}").status_code == 404
        near = browser.get(f"/p/meters/records/{asked}/counterparts?batch=odd").text
        assert "nearest ordinary" not in near
        assert "32 hexadecimal digits" in near


def test_a_record_of_several_batches_is_shown_in_the_one_that_was_scored_last(
    browser: TestClient, pipeline: Path
) -> None:
    data = pipeline.parents[1] / "data"
    shutil.copy(data / "odd.parquet", data / "twin.parquet")
    score(pipeline, batch="twin")
    one = records(pipeline)[0]
    queue = Workspace.open(pipeline).store.queue
    whole = queue.batch("meters", "odd")
    assert whole is not None
    queue.put(whole, [], [])
    text = browser.get(place(one)).text
    assert "It is not in the queue" in text
    assert "In batch <bdi>twin</bdi>, by version 1" in text


def test_the_pages_of_a_case_stay_with_it(browser: TestClient, pipeline: Path) -> None:
    case = Workspace.open(pipeline).store.queue.cases("meters", "odd")[0]
    address = f"/p/meters/cases/{case.case_id}?batch=odd"
    text = browser.get(address).text.replace("&amp;", "&")
    assert case.records > 25
    assert f'href="{address}&page=2"' in text
    later = browser.get(f"{address}&page=2").text
    assert "undecided records at once" in later
    assert later.count('data-key="c"') == case.records - 25
    one = records(pipeline, batch="odd", case_id=case.case_id)[0]
    back = browser.get(f"{place(one)}?batch=odd&case={case.case_id}").text.replace("&amp;", "&")
    assert f'href="{address}"' in back


@pytest.mark.parametrize("path", ["/p/meters/batches/a%00b", "/p/meters/records?column=a%00b", "/p/meters/records/%00"])
def test_a_zero_byte_reaches_no_database(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 400


def test_counts_of_a_filter_are_of_the_list_that_it_narrows(browser: TestClient, pipeline: Path) -> None:
    total = len(records(pipeline, column="power"))
    assert f">power ({total})</option>" in browser.get("/p/meters/batches/odd").text
    first = records(pipeline, column="power")[0]
    Workspace.open(pipeline).store.queue.set_rules("meters", "odd", {first.record_id: 1})
    assert f">power ({total - 1})</option>" in browser.get("/p/meters/batches/odd").text
    assert ">power (1)</option>" in browser.get("/p/meters/batches/odd?kind=suppressed").text
