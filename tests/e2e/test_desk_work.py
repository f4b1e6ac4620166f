"""An analyst at the desk of the demo: a batch by keyboard alone, cases, filters, files, and what lasts."""

from __future__ import annotations

import getpass
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from flowguard.store import QueuedRecord
from tests.e2e.conftest import Demo
from tests.e2e.desk import RunningDesk, at_desk, copied, open_desk

pytestmark = pytest.mark.e2e

ME = getpass.getuser()


@pytest.fixture(scope="module")
def desk(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """The desk of the demo's flights, as whoever runs the tests; each test decides on batches of its own."""
    folder = tmp_path_factory.mktemp("desk")
    with open_desk(copied(demo.folder, folder / "project"), "flights", folder / "log.txt") as opened:
        yield opened


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def row(one: QueuedRecord) -> str:
    """The selector of a record's row, by its id, which may begin with a digit."""
    return f'[id="{one.record_id}"]'


def stands(page: Page, one: QueuedRecord, words: str) -> None:
    expect(page.locator(f"{row(one)} .state")).to_have_text(words)


def listed(page: Page) -> list[str]:
    """The record_ids of a list, in its order; not those that a batch shows below as drawn at random."""
    shown = ":not([aria-labelledby=drawn]) > ol.records > li.record"
    return [str(one) for one in page.eval_on_selector_all(shown, "all => all.map(one => one.id)")]


def test_a_batch_by_keyboard_alone(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=4)
    first, second, third, *_ = desk.records(batch=batch)
    with at_desk(browser, desk, desk.url) as seen:
        page = seen.page
        page.wait_for_url("**/queue")
        for _ in range(100):
            press(page, "j")
            if batch in page.locator("[data-row].at").inner_text():
                break
        press(page, "Enter")
        page.wait_for_url(f"**/batches/{batch}")

        while first.record_id != page.evaluate("document.activeElement.id"):
            press(page, "j")  # past the cases
        press(page, "c")
        stands(page, first, "confirmed")
        assert page.evaluate("document.activeElement.id") == first.record_id, "the keyboard stays where it was"
        press(page, "j", "n")
        page.keyboard.type("known to c, f and u")
        press(page, "Enter")
        stands(page, second, "undecided")  # a note decides nothing by itself
        press(page, "f")
        stands(page, second, "false alarm")
        press(page, "j", "u")
        stands(page, third, "unsure")
        press(page, "z")
        stands(page, third, "undecided")
        press(page, "k", "k")
        assert page.evaluate("document.activeElement.id") == first.record_id

        press(page, "?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        press(page, "u", "Escape")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
        stands(page, first, "confirmed")

        press(page, "/")
        page.keyboard.type(third.search)
        press(page, "Enter")
        page.wait_for_url("**q=*")
        assert listed(page) == [third.record_id]

        press(page, "g", "q")
        page.wait_for_url("**/queue")
    assert [(one.decision, one.note, one.who) for one in desk.history(first.record_id)] == [("confirmed", "", ME)]
    assert [(one.decision, one.note) for one in desk.history(second.record_id)] == [
        ("false_alarm", "known to c, f and u")
    ]
    assert [one.decision for one in desk.history(third.record_id)] == ["unsure", None]


def test_the_strangest_records_one_after_another(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=3)
    first, second, *_ = desk.records(batch=batch)
    with at_desk(browser, desk, desk.record_url(first)) as seen:
        page = seen.page
        state, history = page.locator(".deciding .state"), page.locator("#history")
        expect(page.get_by_text("Why it was flagged")).to_be_visible()
        press(page, "n")
        page.keyboard.type("looked up")
        press(page, "Escape", "c")
        expect(state).to_have_text("confirmed")
        expect(history).to_contain_text(f"confirmed by {ME}")
        expect(history).to_contain_text("looked up")
        press(page, "j")
        page.wait_for_url(f"**/records/{second.record_id}?*")
        expect(state).to_have_text("undecided")
        press(page, "k")
        page.wait_for_url(f"**/records/{first.record_id}?*")
        expect(state).to_have_text("confirmed")
        press(page, "z")
        expect(state).to_have_text("undecided")
        expect(history).to_contain_text("taking back entry")
        expect(page.get_by_role("heading", name="The nearest ordinary records")).to_be_visible(timeout=60_000)


def test_a_whole_case_is_decided_and_taken_back(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=5, cases=2)
    case = max(desk.store.queue.cases(desk.pipeline, batch), key=lambda one: one.records)
    members = {one.record_id for one in desk.records(batch=batch, case_id=case.case_id)}
    assert len(members) == case.records > 1
    with at_desk(browser, desk, desk.batch_url(batch)) as seen:
        page, said = seen.page, seen.page.locator("#said")
        page.locator("table.cases a[data-open]", has_text=case.document["what"]).first.click()
        page.wait_for_url("**/cases/*")
        page.get_by_label("Note on the case").fill("the storm")
        page.get_by_role("group", name="Verdict on the case").get_by_role("button", name="False alarm").click()
        expect(said).to_contain_text(f"{len(members)} records: false alarm.")
        expect(page.locator("li.record .state")).to_have_text(["false alarm"] * len(members))
        assert {one.record_id for one in desk.records(batch=batch, state="false_alarm")} == members
        page.get_by_role("button", name="Undo the case").click()
        expect(said).to_contain_text(f"Taken back on {len(members)} records.")
        expect(page.locator("li.record .state")).to_have_text(["undecided"] * len(members))
    for record_id in members:
        history = [(one.decision, one.note) for one in desk.history(record_id)]
        assert history == [("false_alarm", "the storm"), (None, "")]


def test_lists_are_filtered_by_column_context_verdict_and_p_value(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=6, cases=2)
    records = desk.records(batch=batch)
    marks = desk.store.queue.marks(desk.pipeline, batch)
    column, carrier = list(marks[""])[-1], list(marks["carrier"])[-1]
    named = [
        one.record_id
        for one in records
        if any(column in (each["column"], each["partner"]) for each in one.document["reasons"])
    ]
    flown = [one.record_id for one in records if one.document["key"]["carrier"] == carrier]
    assert 0 < len(flown) < len(records)
    with at_desk(browser, desk, desk.batch_url(batch)) as seen:
        page = seen.page
        assert listed(page) == [one.record_id for one in records]
        page.get_by_label("Column").select_option(column)
        page.wait_for_url("**column=*")
        assert listed(page) == named
        page.get_by_role("link", name="Clear").click()
        page.wait_for_url(desk.batch_url(batch))
        page.get_by_text("Context", exact=True).click()
        page.locator('select[name="in.carrier"]').select_option(carrier)
        page.wait_for_url("**in.carrier=*")
        assert listed(page) == flown
        page.get_by_role("link", name="Clear").click()

        middle = sorted(one.p_value for one in records)[len(records) // 2]
        page.get_by_label("p-value up to").fill(str(middle))
        page.get_by_role("button", name="Apply").click()
        page.wait_for_url("**p_most=*")
        below = [one.record_id for one in records if one.p_value <= middle]
        assert listed(page) == below
        press(page, "j", *["j"] * len(desk.store.queue.cases(desk.pipeline, batch)), "c")
        stands(page, records[0], "confirmed")
        page.get_by_role("combobox", name="Verdict").select_option("open")
        page.wait_for_url("**state=open*")
        assert "p_most" in page.url, "filters are added to each other"
        assert listed(page) == below[1:]
        page.get_by_label("Search").fill("no such flight")
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_text("No record is like that.")).to_be_visible()


def test_what_is_listed_is_saved_as_csv_and_parquet(desk: RunningDesk, browser: Browser, tmp_path: Path) -> None:
    batch = desk.take(flagged=4)
    records = desk.records(batch=batch)
    with at_desk(browser, desk, desk.batch_url(batch, "state=open")) as seen:
        saved = {}
        for kind in ("CSV", "Parquet"):
            with seen.page.expect_download() as download:
                seen.page.get_by_role("link", name=kind).click()
            assert download.value.suggested_filename == f"flights-{batch}-open.{kind.lower()}"
            download.value.save_as(tmp_path / kind)
            saved[kind] = (tmp_path / kind).read_bytes()
    csv = pd.read_csv(io.BytesIO(saved["CSV"]), encoding="utf-8-sig")
    parquet = pq.read_table(io.BytesIO(saved["Parquet"]))
    assert list(csv["record_id"]) == parquet["record_id"].to_pylist() == [one.record_id for one in records]
    assert list(csv.columns) == parquet.column_names
    assert csv["p_value"].tolist() == parquet["p_value"].to_pylist() == [one.p_value for one in records]
    assert csv["carrier"].tolist() == [one.document["key"]["carrier"] for one in records]
    assert parquet["reasons"].to_pylist() == [[each["words"] for each in one.document["reasons"]] for one in records]


def test_it_works_without_scripts(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=2)
    one = desk.records(batch=batch)[0]
    with at_desk(browser, desk, desk.batch_url(batch), java_script_enabled=False) as seen:
        page, bar = seen.page, seen.page.locator(f"{row(one)} .verdict")
        bar.get_by_label("Note").fill("by hand")
        bar.get_by_label("Note").press("Enter")
        assert desk.history(one.record_id) == [], "Enter in a note decides nothing"
        bar.get_by_role("button", name="Unsure").click()
        page.wait_for_load_state()
        expect(page.locator("#said")).to_contain_text("unsure.")
        stands(page, one, "unsure")
        page.locator(f"{row(one)} .verdict").get_by_role("button", name="Undo").click()
        expect(page.locator("#said")).to_contain_text("taken back, undecided now")
        stands(page, one, "undecided")
        page.get_by_role("combobox", name="Verdict").select_option("unsure")
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_text("No record is like that.")).to_be_visible()
        page.goto(desk.record_url(one))
        page.get_by_role("button", name="Confirmed").click()
        expect(page.locator("#history")).to_contain_text(f"confirmed by {ME}")
    assert [(each.decision, each.note) for each in desk.history(one.record_id)] == [
        ("unsure", "by hand"),
        (None, ""),
        ("confirmed", ""),
    ]


def test_the_search_finds_a_flight_in_any_batch(desk: RunningDesk, browser: Browser) -> None:
    one = desk.records()[-1]
    address = f"{desk.url}p/flights/records?q={quote(one.search)}"
    with at_desk(browser, desk, address) as seen:
        assert one.record_id in listed(seen.page)
        seen.page.goto(f"{desk.url}p/flights/records?q={one.record_id}")
        assert listed(seen.page) == [one.record_id]
