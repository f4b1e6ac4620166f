"""Pages and the files that they load."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from fastapi.testclient import TestClient

import flowguard
from flowguard.review.web.app import create_app
from flowguard.review.web.desk import Desk
from flowguard.review.web.page import STATIC, rooms
from flowguard.review.web.pages import ROUTERS
from tests.review.web.conftest import BASE, Browse, router


def test_what_a_page_loads_is_served_and_kept_by_its_digest(browse: Browse) -> None:
    browser = browse(mode="open")
    loaded = re.findall(r'(?:href|src)="(/static/[^"]+)"', browser.get("/forgotten").text)
    assert [address.partition("?")[0].rpartition("/")[2] for address in loaded] == [
        *("page.css", "desk.css", "htmx.min.js", "desk.js")
    ]
    for address in loaded:
        answer = browser.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert re.match(r"text/(css|javascript)", answer.headers["content-type"])
    assert "--alert" in browser.get("/static/page.css").text, "the look of the reports"


def test_nothing_else_is_served(browse: Browse) -> None:
    browser = browse(mode="open")
    for path in ("batch.html", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "", "/etc/passwd"):
        assert browser.get(f"/static/{path}").status_code == 404


def test_htmx_comes_with_its_licence() -> None:
    assert (STATIC / "htmx.LICENSE.txt").read_text().startswith("Zero-Clause BSD")
    package = Path(flowguard.__file__).parent
    held = (package.parent / "pyproject.toml").read_text()
    for folder in ("templates", "static"):
        assert (package / "review/web" / folder).is_dir()
        assert f'"review/web/{folder}/*"' in held


def test_the_rooms_shown_are_those_that_there_are(browse: Browse) -> None:
    assert rooms([router()]) == (("Queue", "/queue"),)
    assert ("Queue", "/queue") in rooms(ROUTERS)
    text = browse(mode="open").get("/nowhere").text
    assert '<a href="/queue">Queue</a>' in text
    assert "/versions" not in text


def test_the_desk_opens_and_closes_and_tells_no_machine_of_its_addresses(desk: Desk) -> None:
    app = create_app(replace(desk, mode="open"))
    with TestClient(app, base_url=BASE) as browser:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert browser.get(path).status_code == 404
    assert app.state.estimates._worker._shutdown, "what runs beside the pages has ended"
