"""Errors: in the desk's look, in words for people, with nothing that a user should not see."""

from __future__ import annotations

import pytest

from flowguard.errors import StoreError
from flowguard.review.web.desk import Desk
from flowguard.store import Store
from tests.review.web.conftest import Browse, log_in, token

FAULTS = [
    ("/raise/input", 400, "Column &#39;power&#39;\nis &lt;missing&gt;."),
    ("/raise/overtaken", 409, "bob decided confirmed."),
    ("/raise/store", 503, "It does not answer."),
    ("/raise/bug", 500, "This is a fault of flowguard"),
    ("/nowhere", 404, "The address may be mistyped"),
    ("/static/nowhere.js", 404, "The address may be mistyped"),
    ("/decide", 405, "cannot be used that way"),
    ("/of/pumps", 404, "no pipeline of the name pumps; it has meters"),
    ("/of/meters?top=many", 422, "top: Input should be a valid integer"),
]


@pytest.mark.parametrize(("path", "status", "words"), FAULTS)
def test_an_error_is_a_page_in_words(browse: Browse, path: str, status: int, words: str) -> None:
    answer = browse(mode="open").get(path)
    assert answer.status_code == status
    assert words in answer.text
    assert "<h1>" in answer.text
    assert "Skip to the content" in answer.text
    assert not any(word in answer.text for word in ("Traceback", "RuntimeError", "a secret of the server", ".py"))


@pytest.mark.parametrize(("path", "status", "words"), FAULTS)
def test_for_htmx_an_error_is_a_sentence_in_the_live_region(browse: Browse, path: str, status: int, words: str) -> None:
    answer = browse(mode="open").get(path, headers={"hx-request": "true"})
    assert answer.status_code == status
    assert words in answer.text
    assert "<html" not in answer.text
    aimed = {"hx-retarget": "#said", "hx-reswap": "innerHTML", "hx-reselect": "unset", "hx-push-url": "false"}
    assert aimed.items() <= dict(answer.headers).items()
    whole = browse(mode="open").get(path, headers={"hx-request": "true", "hx-history-restore-request": "true"})
    assert "<html" in whole.text


def test_a_form_that_lacks_something_is_told_what(browse: Browse) -> None:
    browser = browse(mode="open")
    headers = {"x-csrftoken": token(browser, "/forgotten")}
    answer = browser.post("/decide", headers=headers)
    assert answer.status_code == 422
    assert "what: Field required" in answer.text


def test_a_page_of_an_error_shows_who_is_logged_in(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "<b>ada</b>")
    for path in ("/nowhere", "/of/pumps"):
        text = browse(mode="open").get(path).text
        assert "&lt;b&gt;ada&lt;/b&gt;" in text
        assert "Queue" in text


def test_a_store_that_fails_is_a_page_too(
    browse: Browse, desk: Desk, users: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browse()
    log_in(browser, "viewer")

    def down(self: object) -> Store:
        raise StoreError("The store does not answer at all.")

    monkeypatch.setattr(type(desk), "store", property(down))
    answer = browser.get("/queue")
    assert answer.status_code == 503
    assert "does not answer at all" in answer.text
