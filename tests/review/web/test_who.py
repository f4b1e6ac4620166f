"""Who may do what, and whom the desk believes."""

from __future__ import annotations

import pytest

from flowguard.review.web.desk import Desk
from tests.review.web.conftest import Browse, log_in, token

PROXY = {"mode": "proxy", "proxies": ("10.0.0.0/24", "::1")}


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize(
    ("role", "decides", "promotes"), [("viewer", 403, 403), ("reviewer", 200, 403), ("admin", 200, 200)]
)
def test_each_role_may_what_it_may(browse: Browse, role: str, decides: int, promotes: int) -> None:
    browser = browse()
    log_in(browser, role)
    assert f"{role} as {role}" in browser.get("/queue").text
    headers = {"x-csrftoken": token(browser, "/forgotten")}
    decided = browser.post("/decide", data={"what": "confirmed"}, headers=headers)
    promoted = browser.post("/promote", headers=headers)
    assert (decided.status_code, promoted.status_code) == (decides, promotes)
    for answer in (decided, promoted):
        if answer.status_code == 403:
            assert "This takes the role of" in answer.text
            assert f"{role} has the role {role}" in answer.text


@pytest.mark.usefixtures("users")
def test_a_page_asks_who_comes_even_if_its_author_forgot(browse: Browse) -> None:
    browser = browse()
    for path in ("/queue", "/forgotten", "/of/meters", "/raise/input"):
        assert browser.get(path).headers["location"].startswith("/login")
    assert "log out" not in browser.get("/nowhere").text.lower()
    headers = {"x-csrftoken": token(browser)}
    assert browser.post("/decide", data={"what": "x"}, headers=headers).headers["location"] == "/login"


def test_an_open_desk_works_as_who_started_it(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert "ada as admin" in browse(mode="open").get("/queue").text

    def nameless() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert "somebody as admin" in browse(mode="open").get("/queue").text


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("client", ["10.0.0.2", "::ffff:10.0.0.2", "::1"])
def test_a_trusted_proxy_says_who_comes(browse: Browse, client: str) -> None:
    browser = browse(client=client, **PROXY)
    headers = {"x-forwarded-user": "reviewer"}
    assert "reviewer as reviewer" in browser.get("/queue", headers=headers).text
    assert "reviewer as reviewer" in browser.get("/queue", headers={**headers, "x-forwarded-for": "9.9.9.9"}).text
    assert browser.post("/decide", data={"what": "x"}, headers=headers).status_code == 403, "no token"
    assert browser.get("/login", headers=headers).headers["location"] == "/"


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("client", ["127.0.0.1", "10.0.1.2", "testclient", ""])
def test_nobody_else_is_believed(browse: Browse, client: str) -> None:
    browser = browse(client=client, **PROXY)
    for more in ({}, {"x-forwarded-for": "10.0.0.2"}, {"forwarded": "for=10.0.0.2"}):
        answer = browser.get("/queue", headers={"x-forwarded-user": "admin", **more})
        assert answer.status_code == 403
        assert "reached through its proxy" in answer.text


@pytest.mark.usefixtures("users")
def test_the_header_counts_in_proxy_mode_alone(browse: Browse) -> None:
    for mode in ("open", "password"):
        browser = browse(mode=mode, client="10.0.0.2", proxies=("10.0.0.2",))
        assert "admin as admin" not in browser.get("/queue", headers={"x-forwarded-user": "admin"}).text


@pytest.mark.usefixtures("users")
def test_one_name_is_expected_of_a_proxy(browse: Browse, desk: Desk) -> None:
    desk.store.users.put("zoë", "viewer", "", by="root")
    browser = browse(client="10.0.0.2", **PROXY)
    for value in (b"", b" ", b"a\tb", b"x" * 201):
        assert browser.get("/queue", headers={"x-forwarded-user": value}).status_code == 403
    twice = [("x-forwarded-user", "viewer"), ("x-forwarded-user", "admin")]
    assert browser.get("/queue", headers=twice).status_code == 403
    assert "zoë as viewer" in browser.get("/queue", headers={"x-forwarded-user": "zoë".encode()}).text


def test_a_stranger_has_the_role_that_strangers_have(browse: Browse) -> None:
    headers = {"x-forwarded-user": "mallory"}
    refused = browse(client="10.0.0.2", **PROXY).get("/queue", headers=headers)
    assert refused.status_code == 403
    assert "flowguard users add mallory" in refused.text
    believed = browse(client="10.0.0.2", proxy_role="viewer", **PROXY).get("/queue", headers=headers)
    assert "mallory as viewer" in believed.text


@pytest.mark.usefixtures("users")
def test_guesses_are_counted_by_who_stands_behind_the_proxy(browse: Browse) -> None:
    browser = browse(client="10.0.0.2", proxies=("10.0.0.2",))
    data = {"csrftoken": token(browser), "name": "admin", "password": "wrong"}
    for attempt in range(6):
        answer = browser.post("/login", data=data, headers={"x-forwarded-for": f"9.9.9.{attempt}"})
        assert answer.status_code == 401
