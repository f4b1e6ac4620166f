"""Notices: each event once, by one process, at most one message of a kind in a time, and nothing lost by a failure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from flowguard.store import Due, Notice, Store
from flowguard.store.notices import KEPT, LEASE
from flowguard.store.schema import NOTICES
from tests.store import laws

HOUR = timedelta(hours=1)


def notice(subject: str, *, kind: str = "flagged", occasion: str = "run 1", **document: Any) -> Notice:
    return Notice("meters", kind, subject, document, occasion)


def claim(
    store: Store, *addresses: str, kind: str = "flagged", every: timedelta = HOUR, sender: str = "me"
) -> tuple[Due, ...]:
    return store.notices.claim("meters", kind, addresses=addresses, every=every, sender=sender)


def settle(store: Store, *reached: str, addresses: tuple[str, ...] = ("chat",), kind: str = "flagged") -> None:
    store.notices.settle("meters", kind, sender="me", reached=reached, addresses=addresses)


def told(store: Store, *addresses: str) -> list[list[str]]:
    """What each address is told now, and takes."""
    due = claim(store, *addresses)
    settle(store, *(one.address for one in due), addresses=addresses)
    return [[one.subject for one in each.notices] for each in due]


def pass_time(store: Store, span: timedelta) -> None:
    """Let the times of all notices lie further back, as if so much time had passed on the database's clock."""
    with store.database.writing(lock="notices meters") as connection:
        for one in store.notices.of("meters"):
            row = connection.execute(NOTICES.select().where(NOTICES.c.subject == one.subject)).one()
            moved = {
                name: at - span
                for name in ("noticed_at", "claimed_at", "told_at")
                if (at := getattr(row, name)) is not None
            }
            earlier = {address: at - span for address, at in one.reached.items()}
            connection.execute(
                update(NOTICES).where(NOTICES.c.subject == one.subject).values(reached=_json(earlier), **moved)
            )


def _json(reached: dict[str, datetime]) -> str:
    return json.dumps({address: at.isoformat() for address, at in reached.items()})


def test_an_event_is_told_once_whatever_is_noticed_again(store: Store) -> None:
    assert store.notices.add([notice("a", n=1), notice("b"), notice("a", n=2)]) == 2
    assert dict(store.notices.of("meters")[0].document) == {"n": 1}
    assert told(store, "chat") == [["a", "b"]]
    assert store.notices.add([notice("a", n=3)]) == 0
    assert told(store, "chat") == []
    assert [(one.subject, one.state, dict(one.document)) for one in store.notices.of("meters")] == [
        ("a", "sent", {}),  # of cells nothing is kept that nobody is to be told anymore
        ("b", "sent", {}),
    ]


def test_pipelines_and_kinds_are_apart(store: Store) -> None:
    store.notices.add([notice("a"), notice("a", kind="drift"), Notice("pumps", "flagged", "a", {}, "run 1")])
    assert store.notices.kinds("meters") == ["drift", "flagged"]
    assert told(store, "chat") == [["a"]]
    assert store.notices.kinds("meters") == ["drift"]
    assert store.notices.kinds("pumps") == ["flagged"]


def test_what_happens_within_the_time_is_told_in_the_next_message(store: Store) -> None:
    store.notices.add([notice("a")])
    assert told(store, "chat") == [["a"]]
    for number in range(3):
        store.notices.add([notice(f"held {number}", occasion=f"run {number + 2}")])
        assert told(store, "chat") == []
    pass_time(store, HOUR - timedelta(minutes=1))
    assert told(store, "chat") == []
    pass_time(store, timedelta(minutes=1))
    store.notices.add([notice("now", occasion="run 9")])
    assert told(store, "chat") == [["held 0", "held 1", "held 2", "now"]]


def test_without_a_time_nothing_is_held_back(store: Store) -> None:
    for subject in "ab":
        store.notices.add([notice(subject)])
        assert [one.address for one in claim(store, "chat", every=timedelta(0))] == ["chat"]
        settle(store, "chat")


def test_what_did_not_arrive_is_due_again_at_once_and_only_where_it_did_not(store: Store) -> None:
    both = ("chat", "mail")
    store.notices.add([notice("a")])
    assert len(claim(store, *both)) == 2
    settle(store, "chat", addresses=both)
    [one] = store.notices.of("meters")
    assert (one.state, one.tries, set(one.reached)) == ("waiting", 1, {"chat"})
    store.notices.add([notice("b")])
    # The chat was told just now and waits its time; the mail was not.
    [due] = claim(store, *both)
    assert (due.address, [one.subject for one in due.notices]) == ("mail", ["a", "b"])
    settle(store, "mail", addresses=both)
    pass_time(store, HOUR)
    assert told(store, *both) == [["b"]]
    assert {one.state for one in store.notices.of("meters")} == {"sent"}


def test_what_one_process_has_taken_no_other_gets_until_it_is_given_up(store: Store) -> None:
    store.notices.add([notice("a")])
    assert claim(store, "chat", sender="killed")
    store.notices.add([notice("b")])
    assert claim(store, "chat") == ()
    pass_time(store, LEASE)
    assert told(store, "chat") == [["a", "b"]]
    # What the first says after that is of no account.
    store.notices.settle("meters", "flagged", sender="killed", reached=[], addresses=["chat"])
    assert {one.state for one in store.notices.of("meters")} == {"sent"}


def test_what_nobody_could_be_told_for_long_is_no_news_anymore(store: Store) -> None:
    store.notices.add([notice("a")])
    assert claim(store, "chat")
    settle(store)
    pass_time(store, KEPT)
    assert claim(store, "chat") == ()
    assert [(one.state, one.tries) for one in store.notices.of("meters")] == [("failed", 1)]


def test_an_address_that_is_gone_holds_nothing_up(store: Store) -> None:
    store.notices.add([notice("a")])
    assert claim(store, "chat", "gone")
    settle(store, "chat", addresses=("chat", "gone"))
    assert claim(store, "chat") == ()
    assert [one.state for one in store.notices.of("meters")] == ["sent"]


def test_whatever_stands_in_a_document_is_kept(store: Store) -> None:
    text = "\0 \ud800 <!channel> ✓"
    store.notices.add([notice("a", text=text)])
    assert store.notices.of("meters", "flagged")[0].document == {"text": text}


def test_of_processes_that_tell_the_same_at_once_one_does(url: str) -> None:
    laws.of_racing_messages_one_is_sent(url)
