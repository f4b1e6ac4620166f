"""What is scored comes to the desk's queue: once, whole, with what was decided, without what is redacted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flowguard.errors import InputError
from flowguard.review import AUDITED
from flowguard.stages import verdicts
from flowguard.stages.audit import audit
from flowguard.stages.cases import cases
from flowguard.stages.enqueue import enqueue
from flowguard.stages.flagged import flagged
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord, Wanted
from tests.conftest import meters


def plant(pipeline: Path) -> None:
    """A batch with twenty meters whose power is far too high."""
    table = meters(400, 77)
    power = table["power"].to_numpy().copy()
    power[:20] += 40
    table = table.set_column(table.schema.get_field_index("power"), "power", pa.array(power))
    pq.write_table(table, pipeline.parents[1] / "data" / "odd.parquet")


def queued(pipeline: Path, **wanted: object) -> list[QueuedRecord]:
    return Workspace.open(pipeline).store.queue.records("meters", Wanted(**wanted), most=1000)  # type: ignore[arg-type]


@pytest.fixture
def odd(project: Path) -> Path:
    plant(project)
    score(project, batch="odd")
    return project


def test_what_was_flagged_and_drawn_is_queued_once(odd: Path) -> None:
    made = enqueue(odd)
    assert made.batches == ("odd",)
    assert enqueue(odd).batches == ()
    assert enqueue(odd, again=True).batches == ("odd",)
    told = {one.record_id: one for one in flagged(odd, top=None).records}
    there = {one.record_id: one for one in queued(odd)}
    assert there.keys() == told.keys()
    assert len(there) >= 20
    for record_id, one in there.items():
        assert (one.score, one.p_value, one.batch, one.version) == (
            told[record_id].score,
            told[record_id].p_value,
            "odd",
            1,
        )
        assert [reason["words"] for reason in one.document["reasons"]] == [r.words for r in told[record_id].reasons]
        assert one.document["key"] == told[record_id].key
        assert one.document["values"]["site"] in ("north", "south")
    drawn = queued(odd, kind="drawn")
    assert {one.record_id for one in drawn} == {one.record_id for one in audit(odd).records}
    assert len(drawn) == AUDITED
    assert all(one.document["values"]["power"] is not None for one in drawn)


def test_cases_and_filters_are_those_of_the_batch(odd: Path) -> None:
    enqueue(odd)
    store = Workspace.open(odd).store
    found = cases(odd, batch="odd")
    listed = store.queue.cases("meters", "odd")
    assert [(one.case_id, one.records, one.document["what"]) for one in listed] == [
        (case.id, len(case.records), case.what) for case in found.cases
    ]
    marks = store.queue.marks("meters", "odd")
    assert marks[""]["power"] >= 20
    assert set(marks["site"]) == {"north", "south"}
    north = queued(odd, context={"site": "north"})
    assert north
    assert all(one.document["values"]["site"] == "north" for one in north)


def test_a_verdict_of_the_command_line_shows_and_outlives_another_scoring(odd: Path) -> None:
    first = flagged(odd, top=1).records[0].record_id
    verdicts.decide(odd, first, "confirmed", who="ada")  # before the batch was queued
    enqueue(odd)
    assert [one.record_id for one in queued(odd, state="confirmed")] == [first]
    table = pq.read_table(odd.parents[1] / "data" / "odd.parquet")
    pq.write_table(table.filter(pc.field("power") > 0).slice(0, 300), odd.parents[1] / "data" / "odd.parquet")
    score(odd, batch="odd")
    assert enqueue(odd).batches == ("odd",)
    assert [one.record_id for one in queued(odd, state="confirmed")] == [first]


def test_a_batch_that_was_not_scored_is_named(odd: Path) -> None:
    with pytest.raises(InputError, match="'part9' has not been scored yet"):
        enqueue(odd, batches=["part9"])


def told(pipeline: Path) -> list[str]:
    return [reason["words"] for one in queued(pipeline) for reason in one.document["reasons"]]


def test_redacted_columns_are_not_in_the_queue(odd: Path) -> None:
    text = odd.read_text(encoding="utf-8")
    enqueue(odd)
    assert any(" expected for " in words for words in told(odd)), "what others are expected for is told otherwise"
    odd.write_text(text.replace("  key: [id]", "  key: [id]\n  redact: [id, hour]"), encoding="utf-8")
    enqueue(odd, again=True)
    assert not any(" for " in words for words in told(odd))
    store = Workspace.open(odd).store
    assert set(store.queue.marks("meters", "odd")) == {"", "site"}
    for one in [*queued(odd), *queued(odd, kind="drawn")]:
        assert one.search == ""
        assert one.document["key"] == {}
        assert one.document["values"].keys() == {"power", "flow", "site"}
