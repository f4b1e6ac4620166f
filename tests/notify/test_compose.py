"""Messages in words: what a phone shows of each kind, what was held back, where links lead."""

from __future__ import annotations

from typing import Any

from flowguard.notify import Line, Message, compose, harmless, trial
from flowguard.notify.message import MOST
from flowguard.store import Notice

DESK = "https://desk.example.org/"
CASE = {
    "id": "c1",
    "title": "power too high: 7 records, north (all of them)",
    "record": "meter 7",
    "reasons": ["power is 99, expected 3 to 8", "flow is 2, expected 30 to 80"],
}


def flagged(batch: str, **said: Any) -> Notice:
    document = {"batch": batch, "version": 3, "open": 12, "scored": 1842, "policy": "false alarm rate 0.1 %"}
    return Notice("meters", "flagged", batch, document | {"cases": [CASE], "more": 2} | said, "run 1")


def told(*notices: Notice, occasion: str = "run 1", desk: str | None = DESK) -> Message:
    return compose(notices, occasion=occasion, desk=desk)


def test_flagged_records_are_told_with_counts_cases_reasons_and_links() -> None:
    message = told(flagged("2026-03-01"))
    assert message.title == "meters: 12 of 1,842 records flagged, 2026-03-01"
    assert message.text.splitlines() == [
        "12 of 1,842 records are flagged in batch 2026-03-01 (false alarm rate 0.1 %, version 3).",
        "- power too high: 7 records, north (all of them)",
        "  meter 7: power is 99, expected 3 to 8; flow is 2, expected 30 to 80",
        "Open the case: https://desk.example.org/p/meters/cases/c1?batch=2026-03-01",
        "and 2 more cases",
        "Open the batch: https://desk.example.org/p/meters/batches/2026-03-01",
    ]


def test_without_a_desk_there_are_no_links() -> None:
    assert "http" not in told(flagged("2026-03-01"), desk=None).text


def test_many_batches_are_one_message_with_the_newest_first() -> None:
    message = told(*(flagged(f"2026-03-{day:02}") for day in range(1, 9)))
    assert message.title == "meters: 96 records flagged in 8 batches"
    lines = message.text.splitlines()
    assert "2026-03-08" in lines[0]
    assert [line for line in lines if "2026-03-04" in line]
    assert not [line for line in lines if "2026-03-03" in line]
    assert lines[-2:] == ["and 3 more", "All batches: https://desk.example.org/p/meters"]


def test_earlier_messages_that_did_not_go_out_are_counted() -> None:
    earlier = [Notice("meters", "empty", str(n), {"batch": f"b{n}"}, f"run {n}", tries=int(n > 2)) for n in range(4)]
    now = Notice("meters", "empty", "now", {"batch": "b9"}, "run 9")
    text = told(*earlier, now, occasion="run 9").text
    assert "3 earlier messages were held back; 1 earlier message could not be sent." in text
    assert "earlier" not in told(now, occasion="run 9").text


def test_the_other_kinds_say_what_happened_and_where_to_look() -> None:
    drift = Notice(
        "meters",
        "drift",
        "d",
        {"batch": "b1", "version": 2, "sentence": "power is higher than before", "columns": ["power", "flow"]},
        "run 1",
    )
    assert told(drift).title == "meters: the data changed, b1"
    assert told(drift).text.splitlines() == [
        "b1: power is higher than before",
        "Columns: power, flow",
        "Open the drift: https://desk.example.org/p/meters/drift?version=2",
    ]
    late = Notice("meters", "late", "b2", {"batch": "b2", "sentence": "Batch b2 is not there."}, "run 1")
    assert told(late).title == "meters: batch b2 is late"
    of_files = Notice("meters", "late", "x", {"batch": "", "sentence": "No file was written."}, "run 1")
    assert told(of_files).title == "meters: the data is late"
    empty = Notice("meters", "empty", "b3", {"batch": "b3"}, "run 1")
    assert told(empty).title == "meters: batch b3 is empty"
    failed = Notice(
        "meters", "failed", "1", {"run": "score meters", "message": "the disk is full", "link": "http://p/1"}, "run 1"
    )
    assert (told(failed).title, told(failed).mood) == ("meters: score meters failed", "failure")
    assert told(failed).text == "score meters: the disk is full\nOpen the run: http://p/1"
    gate = Notice(
        "meters", "gate", "3", {"version": 3, "promoted": False, "sentence": "Version 3 failed the gate."}, "run 1"
    )
    assert told(gate).title == "meters: version 3 failed its gate"
    assert told(gate).text.splitlines() == [
        "Version 3 failed the gate.",
        "Open the version: https://desk.example.org/p/meters/versions/3",
    ]
    assert trial("meters", desk=None).text == "Messages about meters arrive here."


def test_what_stood_in_cells_and_names_acts_nowhere() -> None:
    bad = "<!channel> <script>x</script> [see](http://evil.example) @everyone *b*\r\nTo: x\x1b[2J\u202e"
    case = {"id": "a/b?c", "title": bad, "record": bad, "reasons": [bad]}
    message = told(flagged(f"day {bad}", cases=[case]))
    for text in (message.title, message.text, "".join(line.text for line in message.lines)):
        for acting in ("<", ">", "](", "@", "http://", "\x1b", "\u202e", "\r"):
            assert acting not in text
    assert "\n" not in message.title
    assert "<script" not in message.html
    links = [line.link for line in message.lines if line.link]
    assert links[0].startswith("https://desk.example.org/p/meters/cases/a%2Fb%3Fc?batch=day+%3C%21channel")
    assert "<" not in "".join(links)


def test_what_is_too_long_is_cut_and_still_leads_to_all() -> None:
    assert len(harmless("x" * 10_000)) < 200
    last = Line("All", "https://desk.example.org/p/meters")
    text = Message("t", (*(Line("y" * 150) for _ in range(40)), last)).text
    assert len(text) <= MOST
    assert text.endswith("…\nAll: https://desk.example.org/p/meters")
