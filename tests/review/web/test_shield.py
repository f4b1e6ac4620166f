"""What stands before the pages: headers, host names, tokens, limits."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from flowguard.review.web.desk import Desk
from tests.review.web.conftest import Browse, token


def decide(browser: TestClient, headers: dict[str, str] | None = None, **fields: str) -> int:
    return browser.post("/decide", data={"what": "confirmed", **fields}, headers=headers or {}).status_code


@pytest.mark.parametrize("path", ["/queue", "/nowhere", "/raise/bug", "/static/desk.js", "/of/none", "/login"])
def test_every_answer_binds_the_browser(browse: Browse, path: str) -> None:
    headers = browse(mode="open").get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static") else "no-store")
    assert "server" not in headers
    assert "strict-transport-security" not in headers


def test_pages_hold_no_script_and_no_address_elsewhere(browse: Browse) -> None:
    browser = browse(mode="open")
    for path in ("/forgotten", "/nowhere"):
        text = browser.get(path).text
        assert text.count("<script") == text.count("<script src=") == 2
        assert "<style" not in text
        assert " onclick" not in text
        assert "http://" not in text
        assert "https://" not in text


def test_behind_https_cookies_travel_by_it_alone(browse: Browse) -> None:
    answer = browse(https=True, base="https://127.0.0.1:8765").get("/login")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-flowguard-")
    assert "Secure" in cookie
    assert "Path=/;" in cookie


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "127.0.0.1:8765@evil", "[::2]"]
)
def test_a_name_that_was_made_to_mean_this_machine_is_refused(browse: Browse, host: str) -> None:
    answer = browse(mode="open").get("/queue", headers={"host": host})
    assert answer.status_code == 400
    assert "as admin" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8765", "LOCALHOST", "[::1]:8765"])
def test_names_of_this_machine_are_answered(browse: Browse, host: str) -> None:
    assert browse(mode="open").get("/queue", headers={"host": host}).status_code == 200


def test_a_change_needs_the_token_of_a_page(browse: Browse) -> None:
    browser = browse(mode="open")
    assert decide(browser) == 403
    right = token(browser, "/forgotten")
    assert decide(browser, csrftoken=right) == 200
    assert decide(browser, {"x-csrftoken": right}) == 200
    assert decide(browser, {"x-csrftoken": "", "content-type": "text/plain"}) == 403
    for wrong in ("", "x", right[:-1], right + "x"):
        assert decide(browser, csrftoken=wrong) == 403
        assert decide(browser, {"x-csrftoken": wrong}) == 403
    assert browser.put("/decide").status_code == 403
    assert browser.delete("/queue").status_code == 403
    stranger = browse(mode="open")
    assert decide(stranger, csrftoken=right) == 403, "of another browser"


def test_a_token_of_another_desk_is_none(browse: Browse, desk: Desk) -> None:
    other = browse(mode="open", runs=desk.root / "others")
    theirs = token(other, "/forgotten")
    browser = browse(mode="open")
    browser.cookies.set(f"flowguard-{desk.mark}-token", theirs)
    assert decide(browser, csrftoken=theirs) == 403


def test_cookies_of_others_on_this_machine_do_no_harm(browse: Browse, desk: Desk) -> None:
    browser = browse(mode="open")
    right = token(browser, "/forgotten")
    mine = f"flowguard-{desk.mark}-token={right}"
    for cookies in (f'settings={{"a": [1]}}; {mine}; b="', f"bare; x=\xe9; {mine}", f"{mine}; c=a b, d"):
        headers = {"cookie": cookies.encode("latin-1"), "x-csrftoken": right.encode()}
        assert browser.post("/decide", data={"what": "x"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"x-csrftoken": "\xe9"}, b""),
        ({"content-type": "application/x-www-form-urlencoded"}, b"csrftoken=%ff\xff"),
        ({"content-type": "application/x-www-form-urlencoded"}, "csrftoken=é".encode()),
        ({"content-type": "multipart/form-data"}, b"csrftoken"),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--y\r\nnonsense"),
        ({"authorization": "Bearer x"}, b""),
    ],
)
def test_what_cannot_be_read_is_refused_quietly(browse: Browse, headers: dict[str, str], body: bytes) -> None:
    browser = browse(mode="open")
    token(browser, "/forgotten")
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = browser.post("/decide", content=body, headers=encoded)
    assert answer.status_code == 403
    assert "not sent by a page of this desk" in answer.text


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_a_change_that_another_site_asks_for_is_refused(browse: Browse, site: str, status: int) -> None:
    browser = browse(mode="open")
    headers = {"x-csrftoken": token(browser, "/forgotten"), "sec-fetch-site": site}
    assert decide(browser, headers) == status
    assert browser.get("/queue", headers={"sec-fetch-site": site}).status_code == 200


def test_a_body_beyond_the_limit_is_refused(browse: Browse) -> None:
    browser = browse(mode="open")
    right = token(browser, "/forgotten")
    assert decide(browser, csrftoken=right, note="x" * 2_000_000) == 413
    headers = {"x-csrftoken": right, "content-type": "application/x-www-form-urlencoded"}
    chunks = (b"what=" + b"x" * 100_000 for _ in range(20))
    assert browser.post("/decide", content=chunks, headers=headers).status_code == 413


def test_pages_are_compressed(browse: Browse) -> None:
    assert browse(mode="open").get("/forgotten").headers["content-encoding"] == "gzip"
