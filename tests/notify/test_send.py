"""Messages arrive by the real protocols, and an address that does not take one says why without its secret."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from flowguard.notify import Delivery, Line, Message, harmless, read_addresses, send
from tests.notify.receivers import mailbox, slack, webhook

CELL = "<!channel> <b>x</b> & *y* http://evil.example @here\r\nBcc: all@example.org"
LINK = "https://desk.example.org/p/meters/cases/c1?batch=2026-03-01"
MESSAGE = Message(f"meters: {harmless(CELL)}", (Line(harmless(CELL)), Line("Open the case", LINK)))
TOKENS = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


def sent(url: str, message: Message = MESSAGE) -> Delivery:
    [address] = read_addresses([url])
    return send(message, address)


def test_a_webhook_gets_title_and_text() -> None:
    with webhook() as hook:
        assert sent(hook.json_url).trouble == ""
    [(path, document)] = hook.came
    assert path == "/hook/s3cr3t"
    assert (document["title"], document["message"], document["type"]) == (MESSAGE.title, MESSAGE.text, "warning")
    assert document["message"].splitlines()[-1] == f"Open the case: {LINK}"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_slack_gets_text_that_calls_nobody_and_a_link_that_can_be_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack(tmp_path) as hook:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{hook.port}")
        assert sent(f"slack://{TOKENS}/#alerts?verify=no").trouble == ""
    [(path, document)] = hook.came
    assert path == f"/services/{TOKENS}"
    assert document["channel"] == "#alerts"
    [attachment] = document["attachments"]
    assert "icon_url" not in document, "no picture of somebody else's"
    assert attachment["footer"] == "flowguard"
    for text in (attachment["title"], attachment["text"]):
        assert "‹!channel›" in text
        for acting in ("<", ">", "@here", "http://evil", "*y*"):
            assert acting not in text
    assert attachment["text"].endswith(LINK)


def test_a_webhook_that_is_made_like_slacks_is_reached_at_any_host() -> None:
    with webhook() as hook:
        assert sent(f"mmost://127.0.0.1:{hook.port}/3ccdd113474722377935511fc85d3dd4").trouble == ""
    [(path, document)] = hook.came
    assert path == "/hooks/3ccdd113474722377935511fc85d3dd4"
    assert MESSAGE.text in document["text"]


def test_a_mail_has_a_link_and_no_markup_or_header_of_a_cell() -> None:
    with mailbox() as box:
        assert sent(box.url).trouble == ""
    [mail] = box.came
    assert mail["To"] == "team@example.org"
    assert mail["Bcc"] is None
    assert mail["Subject"] == MESSAGE.title
    shown = mail.get_body(("html",))
    assert shown is not None
    text = shown.get_content()
    assert f'<a href="{LINK}">Open the case</a>' in text
    assert "<b>" not in text
    assert "&amp;" in text
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "‹!channel›" in plain.get_content()


def test_nobody_there_and_a_refusal_are_told_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"json://me:pa55word@127.0.0.1:{port}/s3cr3t", f"mailto://127.0.0.1:{port}?from=a@b.org&to=c@d.org"):
        trouble = sent(url).trouble
        assert "onnection error" in trouble
        assert "s3cr3t" not in trouble
        assert "pa55word" not in trouble
    with webhook() as hook:
        hook.status = 403
        trouble = sent(hook.json_url).trouble
    assert "403" in trouble
    assert caplog.records == [], "what apprise complains of goes where we say"
    assert sent("nonsense://x/s3cr3t").trouble == "no service is known by this address"


def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=listener.accept, daemon=True).start()
        before = time.monotonic()
        assert sent(f"json://127.0.0.1:{listener.getsockname()[1]}/?rto=0.3").trouble
        assert time.monotonic() - before < 3
