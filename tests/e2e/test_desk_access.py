"""The desk in a real browser: logging in, its keyboard, its live region, what it forbids itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from fastapi import APIRouter, Form, Request
from playwright.sync_api import Browser, Page, expect
from starlette.responses import HTMLResponse, Response

from flowguard.errors import OvertakenError
from flowguard.review.access import hashed
from flowguard.review.web import serve
from flowguard.review.web.desk import Desk
from flowguard.review.web.page import page, templates
from tests.e2e.browser import visit

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"
NARROW = {"width": 360, "height": 740}
ROWS = """{% extends "desk.html" %}
{% block main %}
<h1>Rows</h1>
<form><label>Search<input type="search" name="q"></label></form>
<ol class="records">
{% for name in ["one", "two", "three"] %}
<li class="record" data-row id="{{ name }}" tabindex="-1">
<h2><a href="/opened/{{ name }}">{{ name }}</a></h2>
<form hx-post="/decide" hx-target="closest [data-row]" hx-swap="outerHTML">
<input type="hidden" name="name" value="{{ name }}">
<label>Note<textarea name="note" data-key="n"></textarea></label>
{% for key, what in [("c", "confirmed"), ("f", "false alarm"), ("u", "unsure"), ("z", "undone")] %}
<button class="button" data-key="{{ key }}" name="what" value="{{ what }}">{{ what }}</button>
{% endfor %}
</form></li>
{% endfor %}
</ol>
{% endblock %}"""


def pages() -> APIRouter:
    router = APIRouter()

    @router.get("/queue")
    def rows(request: Request) -> Response:
        return page(request, "rows.html")

    @router.get("/opened/{name}")
    def opened(request: Request, name: str) -> Response:
        return page(request, "fault.html", title=name, words="opened")

    @router.post("/decide")
    def decide(name: str = Form(), what: str = Form(), note: str = Form("")) -> Response:
        if note == "late":
            raise OvertakenError("bob was <faster>.")
        if note == "broken":
            return HTMLResponse("<h1>a proxy's page</h1>", 502)
        undo = '<button data-key="z">undo</button>'
        return HTMLResponse(f'<li class="record" data-row id="{name}" tabindex="-1">{name}: {what} {undo}</li>')

    return router


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A desk with these pages, for the viewer `eve` and the reviewer `ada`."""
    (tmp_path / "rows.html").write_text(ROWS)
    templates.cache_clear()
    loader = cast(list[str], templates().loader.searchpath)  # type: ignore[union-attr]
    loader.insert(0, str(tmp_path))
    desk = Desk(pipelines={"meters": tmp_path / "m.yaml"}, root=tmp_path, runs=tmp_path / "runs", mode="password")
    kept = hashed("ada", PASSWORD)
    desk.store.users.put("ada", "reviewer", kept, by="root")
    desk.store.users.put("eve", "viewer", kept, by="root")
    made = serve.create_app
    monkeypatch.setattr(serve, "create_app", lambda desk: made(desk, [pages()]))
    servers: list[serve._Server] = []
    real = serve._Server.__init__
    monkeypatch.setattr(serve._Server, "__init__", lambda self, *args: (servers.append(self), real(self, *args))[1])
    ready, listener = threading.Event(), serve.listening("127.0.0.1", 0)
    url = serve.url_of(desk, "127.0.0.1", listener)
    thread = threading.Thread(target=serve.serve, args=(desk, listener, ready.set))
    thread.start()
    try:
        assert ready.wait(30)
        yield url
    finally:
        servers[0].should_exit = True
        thread.join(20)
        templates.cache_clear()


def log_in(page: Page, name: str = "ada", password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def at(page: Page) -> str:
    """The id of the selected row, which has the keyboard."""
    return str(page.evaluate("document.activeElement.matches('[data-row].at') ? document.activeElement.id : ''"))


def test_logging_in_and_out(address: str, browser: Browser) -> None:
    with visit(browser, f"{address}queue?q=a") as seen:
        assert seen.page.evaluate("document.activeElement.name") == "name"
        log_in(seen.page, password="wrong password")
        expect(seen.page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        seen.complaints.clear()  # Chromium complains about the 401
        log_in(seen.page)
        seen.page.wait_for_url("**/queue?q=a")
        assert "ada reviewer" in seen.page.inner_text("header")
        seen.page.get_by_role("button", name="Log out").click()
        seen.page.wait_for_url("**/login")
        assert seen.complaints == []
        assert all(one.startswith((address, "data:")) for one in seen.asked)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_phone(address: str, browser: Browser, scheme: str, tmp_path: Path) -> None:
    with visit(browser, address + "queue", viewport=NARROW, color_scheme=scheme) as seen:
        for name in ("login", "rows"):
            seen.page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
            if name == "login":
                log_in(seen.page)
                seen.page.wait_for_selector("#one")
        assert seen.complaints == []


def test_the_keyboard_moves_decides_and_opens(address: str, browser: Browser) -> None:
    with visit(browser, address + "queue") as seen:
        page = seen.page
        log_in(page)
        page.wait_for_selector("#one")
        page.keyboard.press("c")
        assert at(page) == "", "nothing is selected, nothing decided"
        page.keyboard.press("j")
        assert at(page) == "one"
        page.keyboard.press("k")
        assert at(page) == "one"
        page.keyboard.press("j")
        page.keyboard.press("f")
        expect(page.locator("#two")).to_contain_text("two: false alarm")
        assert at(page) == "two", "the row that replaced it has the keyboard"
        page.keyboard.press("j")
        assert at(page) == "three"
        page.keyboard.press("n")
        page.keyboard.type("c f u z j k ? /")
        assert page.locator("#three textarea").input_value() == "c f u z j k ? /"
        page.keyboard.press("Escape")
        assert at(page) == "three"
        page.keyboard.press("Control+c")
        page.keyboard.press("Alt+f")
        expect(page.locator("#three")).not_to_contain_text("three:")
        page.keyboard.press("u")
        expect(page.locator("#three")).to_contain_text("three: unsure")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.name") == "q"
        page.keyboard.press("Escape")
        page.keyboard.press("k")
        page.keyboard.press("k")
        assert at(page) == "one"
        page.keyboard.press("Enter")
        page.wait_for_url("**/opened/one")
        page.keyboard.press("g")
        page.keyboard.press("q")
        page.wait_for_url("**/queue")
        assert seen.complaints == []


def test_the_help_opens_and_closes_and_takes_the_keyboard(address: str, browser: Browser) -> None:
    with visit(browser, address + "queue") as seen:
        log_in(seen.page)
        help = seen.page.get_by_role("dialog", name="Keyboard")
        expect(help).to_be_hidden()
        seen.page.keyboard.press("j")
        seen.page.keyboard.press("?")
        expect(help).to_be_visible()
        seen.page.keyboard.press("c")
        seen.page.keyboard.press("Escape")
        expect(help).to_be_hidden()
        expect(seen.page.locator("#one")).not_to_contain_text("one:")
        seen.page.get_by_role("button", name="Keyboard help").click()
        expect(help).to_be_visible()
        seen.page.get_by_role("button", name="Close").click()
        expect(help).to_be_hidden()


def test_what_goes_wrong_is_said_and_changes_no_row(address: str, browser: Browser) -> None:
    with visit(browser, address + "queue") as seen:
        page, said = seen.page, seen.page.locator("#said")
        log_in(page)
        for note, words in (("late", "bob was <faster>."), ("broken", "The desk answered 502.")):
            page.locator("#one textarea").fill(note)
            page.keyboard.press("Escape")
            page.keyboard.press("c")
            expect(said).to_contain_text(words)
            expect(page.locator("#one")).not_to_contain_text("one:")
        page.route("**/decide", lambda route: route.abort())
        page.keyboard.press("c")
        expect(said).to_contain_text("The desk does not answer.")
        page.unroute("**/decide")
        page.context.clear_cookies()
        page.keyboard.press("c")
        expect(said).to_contain_text("not sent by a page of this desk")


def test_a_viewer_is_told_and_who_was_logged_out_is_led_to_the_form(address: str, browser: Browser) -> None:
    with visit(browser, address + "queue") as seen:
        page = seen.page
        log_in(page, "eve")
        page.wait_for_selector("#one")
        page.keyboard.press("j")
        page.keyboard.press("c")
        expect(page.locator("#said")).to_contain_text("eve has the role viewer")
        (session,) = (one for one in page.context.cookies() if not one["name"].endswith("-token"))
        assert session["httpOnly"]
        page.context.clear_cookies(name=session["name"])
        page.keyboard.press("c")
        page.wait_for_url("**/login?next=/queue")
