"""Several people at one desk: who gets in, who may decide, two at once, and pages that keep nobody out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import visit
from tests.e2e.conftest import ROOT, Demo
from tests.e2e.desk import (
    RunningDesk,
    add_user,
    answer,
    at_desk,
    barriers,
    copied,
    flowguard,
    log_in,
    open_desk,
    settled,
    too_wide,
    whole,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def desk(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """The desk of the demo's flights for ada and bob, who review, and eve, who looks."""
    folder = tmp_path_factory.mktemp("people")
    project = copied(demo.folder, folder / "project")
    for name, role in (("ada", "reviewer"), ("bob", "reviewer"), ("eve", "viewer")):
        add_user(project, name, role)
    with open_desk(project, "flights", folder / "log.txt") as opened:
        yield opened


def token_of(page: Page) -> str:
    """The token of the page against forged requests."""
    headers = page.locator("body").get_attribute("hx-headers") or ""
    return re.findall(r'"x-csrftoken": "([^"]+)"', headers)[0]


def test_logging_in_and_out(desk: RunningDesk, browser: Browser) -> None:
    one = desk.strangest()
    with at_desk(browser, desk, desk.record_url(one)) as seen:
        page = seen.page
        assert page.url.startswith(f"{desk.url}login?next="), "nothing is shown to whom nobody knows"
        assert one.search.split()[-1] not in page.inner_text("main")
        log_in(page, "ada", "not the password")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        log_in(page, "nobody")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        assert all("401" in one for one in seen.complaints), seen.complaints
        seen.complaints.clear()  # which Chromium reports
        log_in(page, "ada")
        page.wait_for_url(desk.record_url(one))
        expect(page.locator("header")).to_contain_text("ada reviewer")
        kept = page.context.cookies()
        assert all(each["httpOnly"] or each["name"].endswith("-token") for each in kept)
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        page.go_back()
        assert "/login" in page.url, "nothing is left in the browser's cache"
        page.context.add_cookies([{**each, "url": None} for each in kept])
        assert answer(page, "GET", f"{desk.url}queue")[0] == 303, "nor is a copied cookie worth anything"


def test_a_viewer_looks_and_decides_nothing(desk: RunningDesk, browser: Browser) -> None:
    one = desk.strangest()
    with at_desk(browser, desk, desk.record_url(one)) as seen:
        log_in(seen.page, "eve")
        expect(seen.page.get_by_role("heading", name="Why it was flagged")).to_be_visible()
        assert seen.page.get_by_role("button", name="Confirmed").count() == 0
        seen.page.keyboard.press("c")
        path = f"{desk.url}p/flights/records/{one.record_id}/decide"
        fields = {"batch": one.batch, "decision": "confirmed", "csrftoken": token_of(seen.page)}
        status, said = answer(seen.page, "POST", path, form=fields)
        assert status == 403
        assert "eve has the role viewer" in said
        assert answer(seen.page, "GET", f"{desk.url}p/flights/export.csv?batch={one.batch}")[0] == 200
        seen.page.goto(desk.batch_url(one.batch))
        assert seen.page.get_by_role("button", name="Confirmed").count() == 0
    assert desk.history(one.record_id) == []


def test_nothing_is_decided_without_the_token_of_a_page(desk: RunningDesk, browser: Browser) -> None:
    one = desk.strangest()
    path = f"{desk.url}p/flights/records/{one.record_id}/decide"
    with at_desk(browser, desk, desk.record_url(one)) as seen:
        log_in(seen.page, "ada")
        seen.page.wait_for_url(desk.record_url(one))
        right, fields = token_of(seen.page), {"batch": one.batch, "decision": "confirmed"}
        for forged in ({}, {"csrftoken": ""}, {"csrftoken": right[:-2] + "xx"}):
            status, said = answer(seen.page, "POST", path, form={**fields, **forged})
            assert status == 403
            assert "not sent by a page of this desk" in said
        elsewhere = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert answer(seen.page, "POST", path, form={**fields, "csrftoken": right}, headers=elsewhere)[0] == 403
        assert answer(seen.page, "GET", f"{desk.url}queue", headers={"Host": "evil.example"})[0] == 400
    assert desk.history(one.record_id) == []


def test_of_two_who_decide_at_once_the_second_is_told_and_nothing_is_lost(desk: RunningDesk, browser: Browser) -> None:
    one = desk.records(batch=desk.take(flagged=1))[0]
    link, state, said = desk.record_url(one), ".deciding .state", "#said"
    with at_desk(browser, desk, link) as ada, at_desk(browser, desk, link) as bob:
        for seen, name in ((ada, "ada"), (bob, "bob")):
            log_in(seen.page, name)
            seen.page.wait_for_url(link)
        ada.page.get_by_label("Note").fill("no plane is that fast")
        ada.page.get_by_role("button", name="Confirmed").click()
        expect(ada.page.locator(state)).to_have_text("confirmed")

        bob.page.keyboard.press("f")
        expect(bob.page.locator(said)).to_contain_text("ada decided confirmed")
        expect(bob.page.locator(said)).to_contain_text("no plane is that fast")
        expect(bob.page.locator(state)).to_have_text("confirmed")
        expect(bob.page.locator("#history")).to_contain_text("confirmed by ada")
        assert [(each.who, each.decision) for each in desk.history(one.record_id)] == [("ada", "confirmed")]

        bob.page.keyboard.press("f")  # having seen it
        expect(bob.page.locator(state)).to_have_text("false alarm")
        expect(bob.page.locator("#history")).to_contain_text("false alarm by bob")
        expect(bob.page.locator("#history")).to_contain_text("confirmed by ada")
        ada.page.keyboard.press("z")
        expect(ada.page.locator(said)).to_contain_text("bob decided false alarm")
    both = [("ada", "confirmed"), ("bob", "false_alarm")]
    assert [(each.who, each.decision) for each in desk.history(one.record_id)] == both


def test_a_case_that_another_decided_in_part_is_not_decided_over(desk: RunningDesk, browser: Browser) -> None:
    batch = desk.take(flagged=5, cases=2)
    case = max(desk.store.queue.cases("flights", batch), key=lambda one: one.records)
    members = desk.records(batch=batch, case_id=case.case_id)
    link = f"{desk.url}p/flights/cases/{case.case_id}?batch={batch}"
    with visit(browser, link) as ada, at_desk(browser, desk, link) as bob:
        for seen, name in ((ada, "ada"), (bob, "bob")):
            log_in(seen.page, name)
            seen.page.wait_for_url(link)
        bob.page.keyboard.press("j")
        bob.page.keyboard.press("f")
        expect(bob.page.locator("li.record .state").first).to_have_text("false alarm")
        whole = ada.page.get_by_role("group", name="Verdict on the case")
        whole.get_by_role("button", name="Confirmed").click()
        expect(ada.page.locator(".state.confirmed")).to_have_count(len(members) - 1)
        expect(ada.page.locator(".state.false_alarm")).to_have_count(1)
    decided = {each.record_id: [entry.who for entry in desk.history(each.record_id)] for each in members}
    assert sorted(decided.values()) == [["ada"]] * (len(members) - 1) + [["bob"]]


def test_it_is_not_opened_for_others_without_users(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    ran = flowguard(tmp_path, "review", "pipelines/flights.yaml", "--host", "0.0.0.0", "--no-browser")
    assert ran.returncode == 2
    assert "nobody would be asked who they are" in ran.stderr.replace("\n", " ")
    assert "flowguard users add" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_every_page_is_for_everybody_in_light_and_dark_on_a_desk_and_a_phone(
    desk: RunningDesk, browser: Browser
) -> None:
    found: list[str] = []
    with at_desk(browser, desk, f"{desk.url}login") as seen:
        page = seen.page
        found += [f"login: {one}" for one in barriers(page)]
        log_in(page, "ada")
        page.goto(desk.record_url(desk.strangest()))
        page.get_by_label("Note").fill("looked up")
        page.get_by_role("button", name="Confirmed").click()
        page.locator("#history .state").wait_for()
        for address in (*desk.addresses(), f"{desk.url}nowhere"):
            page.emulate_media(color_scheme="light")
            page.goto(address)
            settled(page)
            name = address.removeprefix(desk.url)
            found += [f"{name}, light: {one}" for one in barriers(page)]
            page.emulate_media(color_scheme="dark")
            found += [f"{name}, dark: {one}" for one in barriers(page, colours=True)]
            if over := too_wide(page):
                found.append(f"{name}: {over} pixels too wide for a phone")
            if name == "nowhere":  # Chromium reports the 404
                seen.complaints = [one for one in seen.complaints if "404" not in one]
            whole(seen, desk)
    assert not found, "\n".join(found)
