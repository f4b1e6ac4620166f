"""Logging in and out, and what ends a session."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from flowguard.review.access import hashed
from flowguard.review.web import who
from flowguard.review.web.app import create_app
from flowguard.review.web.desk import Desk
from flowguard.review.web.login import AT_ONCE, within
from flowguard.review.web.throttle import FREE
from tests.review.web.conftest import BASE, PASSWORD, Browse, log_in, router, token

pytestmark = pytest.mark.usefixtures("users")


def known(browser: TestClient) -> str:
    """What the desk says of who looks; "" where it asks for a log-in."""
    answer = browser.get("/queue")
    return answer.text if answer.status_code == 200 else ""


def test_who_is_not_logged_in_is_led_to_the_form_and_back(browse: Browse) -> None:
    browser = browse()
    asked = browser.get("/queue?state=open&q=a%26b")
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/queue%3Fstate%3Dopen%26q%3Da%2526b")
    form = browser.get(asked.headers["location"])
    assert form.status_code == 200
    assert 'value="/queue?state=open&amp;q=a%26b"' in form.text
    data = {
        "csrftoken": token(browser),
        "name": " reviewer ",
        "password": PASSWORD,
        "next": "/queue?state=open&q=a%26b",
    }
    done = browser.post("/login", data=data)
    assert (done.status_code, done.headers["location"]) == (303, "/queue?state=open&q=a%26b")
    assert "reviewer as reviewer" in known(browser)
    assert browser.get("/login").headers["location"] == "/"
    (cookie,) = (line for line in done.headers.get_list("set-cookie") if "-token" not in line)
    assert "httponly; samesite=lax" in cookie
    assert "Max-Age=43200" in cookie


def test_htmx_is_led_to_the_form_as_a_whole_page(browse: Browse) -> None:
    headers = {"hx-request": "true", "hx-current-url": "http://127.0.0.1:8765/queue?state=open"}
    answer = browse().get("/of/meters", headers=headers)
    assert (answer.status_code, answer.text) == (401, "")
    assert answer.headers["hx-redirect"] == "/login?next=/queue%3Fstate%3Dopen"


def test_a_wrong_name_and_a_wrong_password_are_refused_alike(browse: Browse) -> None:
    browser = browse()
    texts = []
    for name, password in (("reviewer", "wrong"), ("nobody", PASSWORD), ("reviewer", "")):
        data = {"csrftoken": token(browser), "name": name, "password": password}
        answer = browser.post("/login", data=data)
        assert answer.status_code == 401
        texts.append(answer.text.replace(data["csrftoken"], "").replace(f'value="{name}"', ""))
    assert len(set(texts)) == 1
    assert "The name or the password is not right." in texts[0]
    assert known(browser) == ""


def test_guessing_is_slowed_down_for_who_guesses_alone(browse: Browse) -> None:
    guesser = browse(client="10.0.0.9")
    app = guesser.app
    assert [log_in(guesser, "admin", "wrong") for _ in range(FREE + 1)] == [401] * FREE + [429]
    held = guesser.post("/login", data={"csrftoken": token(guesser), "name": "admin", "password": PASSWORD})
    assert held.status_code == 429, "the right one too: nothing is checked"
    assert int(held.headers["retry-after"]) >= 1
    assert "Too many wrong attempts" in held.text
    elsewhere = TestClient(app, base_url=BASE, client=("10.0.0.7", 1), follow_redirects=False)
    assert log_in(elsewhere, "admin") == 303


def test_a_crowd_that_logs_in_leaves_threads_for_pages(browse: Browse) -> None:
    browser = browse()
    gate = browser.app.state.gate  # type: ignore[attr-defined]
    for _ in range(AT_ONCE):
        assert gate.acquire(blocking=False)
    assert [log_in(browser, "reviewer") for _ in range(2 * FREE)] == [429] * 2 * FREE
    gate.release()
    assert log_in(browser, "reviewer") == 303, "nobody's attempts were counted"
    assert gate.acquire(blocking=False), "the place was given back"


def test_logging_out_ends_the_session_and_its_copies(browse: Browse) -> None:
    browser = browse()
    log_in(browser, "reviewer")
    copies = dict(browser.cookies)
    assert browser.post("/logout").status_code == 403, "no token"
    done = browser.post("/logout", data={"csrftoken": token(browser, "/forgotten")})
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert known(browser) == ""
    thief = TestClient(browser.app, base_url=BASE, follow_redirects=False, cookies=copies)
    assert known(thief) == ""


def test_a_changed_password_ends_sessions_and_a_changed_role_counts_at_once(browse: Browse, desk: Desk) -> None:
    browser, users = browse(), desk.store.users
    log_in(browser, "reviewer")
    account = users.find("reviewer")
    assert account is not None
    users.put("reviewer", "viewer", account.password, by="root")
    assert "reviewer as viewer" in known(browser)
    users.put("reviewer", "viewer", hashed("reviewer", PASSWORD), by="root")
    assert known(browser) == "", "the same password anew is another"
    assert log_in(browser, "reviewer") == 303
    users.remove("reviewer")
    assert known(browser) == ""
    assert log_in(browser, "reviewer") == 401


def test_a_user_without_password_cannot_log_in(browse: Browse, desk: Desk) -> None:
    desk.store.users.put("proxied", "admin", "", by="root")
    browser = browse()
    assert log_in(browser, "proxied", "") == 401
    assert log_in(browser, "proxied") == 401


def test_a_session_ends_by_age_even_when_it_is_used(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = browse()
    log_in(browser, "reviewer")
    now = who.time.time()
    monkeypatch.setattr(who.time, "time", lambda: now + who.MAX_AGE - 60)
    assert known(browser) != ""
    monkeypatch.setattr(who.time, "time", lambda: now + who.MAX_AGE + 60)
    assert known(browser) == ""


def test_a_cookie_that_was_made_up_or_is_of_another_desk_is_none(browse: Browse, desk: Desk) -> None:
    browser = browse()
    log_in(browser, "reviewer")
    name = f"flowguard-{desk.mark}"
    signed = browser.cookies[name]
    content, _, rest = signed.partition(".")
    session = json.loads(base64.b64decode(content))
    assert not any(part in json.dumps(session) for part in (PASSWORD, "argon2"))
    forged = base64.b64encode(json.dumps({**session, "name": "admin"}).encode()).decode()
    for cookie in (f"{forged}.{rest}", forged, "null", signed[:-1]):
        forger = TestClient(browser.app, base_url=BASE, cookies={name: cookie}, follow_redirects=False)
        assert known(forger) == "", cookie
    other = replace(desk, runs=desk.root / "others")
    other.store.users.put("reviewer", "admin", "x", by="root")
    app = create_app(other, [router()])
    cookies = {f"flowguard-{other.mark}": signed}
    assert known(TestClient(app, base_url=BASE, cookies=cookies, follow_redirects=False)) == ""


@pytest.mark.parametrize(
    "target",
    [
        *("", "queue", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example"),
        *("https://evil.example", "javascript:alert(1)", "/\n/evil.example", " /queue", "/login?next=/x", "/logout"),
    ],
)
def test_a_log_in_leads_to_no_other_site(browse: Browse, target: str) -> None:
    assert within(target) == "/"
    browser = browse(mode="open")
    assert browser.get("/login", params={"next": target}).headers["location"] == "/"


def test_without_passwords_the_form_leads_on(browse: Browse) -> None:
    browser = browse(mode="open")
    assert browser.get("/login").headers["location"] == "/"
    data = {"csrftoken": token(browser, "/forgotten"), "name": "a", "password": "b"}
    assert browser.post("/login", data=data).headers["location"] == "/"
