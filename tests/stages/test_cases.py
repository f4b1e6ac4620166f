"""Cases of a trained and scored pipeline: planted faults come back, whatever becomes of the source."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import InputError
from flowguard.stages.cases import Cases, cases
from flowguard.stages.report import report
from flowguard.stages.score import score
from flowguard.stages.train import train
from tests.conftest import meters
from tests.stages.plant import Fault, set_to, swap, times, write

UNIT, STUCK = range(30), range(30, 60)


def odd(project: Path) -> Path:
    """Another file of the project: 30 records of the north in another unit, 30 with a stuck meter."""
    table = meters(600, 9)
    order = np.argsort(table["site"].to_numpy(zero_copy_only=False), kind="stable")  # north first
    rows = table.take(pa.array(order)).to_pylist()
    for row, record in enumerate(rows):
        record["id"] = 9_000_000 + row
        if row in UNIT:
            record["power"] *= 60
        if row in STUCK:
            record["flow"] = 7.0
    path = project.parents[1] / "data" / "odd.parquet"
    pq.write_table(pa.Table.from_pylist(rows).select(table.schema.names), path)
    score(project, batch="odd")
    return path


def ids(found: Cases, place: int) -> set[int]:
    return {found.records[member].key["id"] - 9_000_000 for member in found.cases[place].records}


def test_planted_faults_are_cases_with_their_context(project: Path) -> None:
    odd(project)
    found = cases(project, batch="odd")
    assert found.grouped == found.total == sum(len(case.records) for case in found.cases)
    unit, stuck = found.cases[:2]
    assert unit.columns[0] == "power"
    assert unit.directions[0] == "above"
    assert "times what was expected" in unit.title
    assert unit.context == ("north",)
    assert len(ids(found, 0) & set(UNIT)) >= 0.95 * max(len(unit.records), len(UNIT))
    assert stuck.title.startswith("flow always 7: ")
    assert ids(found, 1) <= set(STUCK)
    assert len(ids(found, 1)) >= 28


def test_all_batches_are_grouped_together_or_one(project: Path) -> None:
    odd(project)
    score(project)
    whole, one = cases(project), cases(project, batch="odd")
    assert whole.total > one.total
    assert {case.id for case in one.cases[:2]} <= {case.id for case in whole.cases}
    assert {member.batch for case in one.cases for member in case.records} == {"odd"}
    assert max(case.batches for case in whole.cases) > 1


def test_what_was_not_scored_is_refused(project: Path) -> None:
    with pytest.raises(InputError, match=r"no batch has been scored yet.*flowguard score"):
        cases(project)
    score(project, batch="part0")
    with pytest.raises(InputError, match=r"batch 'part1' has not been scored"):
        cases(project, batch="part1")
    with pytest.raises(InputError, match="no case 'nope'"):
        cases(project).find("nope")


def test_a_source_that_is_gone_leaves_cases_without_context(project: Path) -> None:
    path = odd(project)
    before = cases(project, batch="odd")
    path.unlink()
    after = cases(project, batch="odd")
    assert [case.id for case in after.cases][:2] == [case.id for case in before.cases][:2]
    assert not any(case.context for case in after.cases)
    assert after.surroundings.whole("odd", after.cases[0].records[0].record_id) == {}


def test_redacted_columns_are_neither_context_nor_key(project: Path) -> None:
    odd(project)
    project.write_text(project.read_text().replace("key: [id]", "key: [id]\n  redact: [id]"))
    found = cases(project, batch="odd")
    assert found.key == ()
    assert "900000" not in str(found.rows())
    assert found.name(found.cases[0].records[0]) == found.cases[0].records[0].record_id


def test_pages_have_the_cases_and_lead_to_their_records(project: Path) -> None:
    odd(project)
    made = report(project)
    found = cases(project)
    first = found.cases[0]
    run, page = made.run.read_text(), next(page for page in made.pages if "odd" in page.name).read_text()
    for text in (run, page):
        assert first.what in text
        assert f'id="case-{first.id}"' in text
    assert f'href="run.html#case-{first.id}"' in page
    linked = first.records[0].record_id
    assert f'href="batch-odd.html#{linked}"' in run
    assert f'href="#{linked}"' in page
    assert f'id="{linked}"' in page


FAULTS: dict[str, dict[str, tuple[Fault, set[str], str]]] = {
    # name: the fault, the columns that its title has to name, and the context
    "three columns": {
        "unit": ((lambda row: row["site"] == "north", 30, times("power", 60)), {"power"}, "north"),
        "stuck": ((lambda row: row["line"] == "L7", 28, set_to("temperature", 42.0)), {"temperature"}, "L7"),
        "swapped": ((lambda row: True, 24, swap("flow", "pressure")), {"flow", "pressure"}, ""),
    },
    "two in the same columns": {
        "unit": ((lambda row: True, 30, times("power", 60)), {"power"}, ""),
        "category": ((lambda row: True, 28, set_to("mode", "fault")), {"mode"}, ""),
        "swapped": ((lambda row: True, 24, swap("power", "flow")), {"power", "flow"}, ""),
    },
    "milder": {
        "unit": ((lambda row: True, 30, times("flow", 1 / 3.6)), {"flow"}, ""),
        "fahrenheit": (
            (
                lambda row: row["site"] == "west",
                28,
                lambda row: row.update(temperature=1.8 * row["temperature"] + 32),
            ),
            {"temperature"},
            "west",
        ),
        "missing": ((lambda row: row["line"] == "L3", 24, set_to("pressure", None)), {"pressure"}, "L3"),
    },
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", FAULTS)
def test_three_faults_over_410_records_come_back_as_three_cases(name: str, tmp_path: Path) -> None:
    planted = FAULTS[name]
    pipeline, truth = write(tmp_path / "project", {fault: given for fault, (given, _, _) in planted.items()})
    assert len(truth) == 410
    train(pipeline)
    score(pipeline, since=dt.date(2026, 3, 7))
    found = cases(pipeline)
    missed = []
    for case in found.cases[:3]:
        mine = [truth.get(found.records[member].key["id"], "") for member in case.records]
        fault = max(planted, key=mine.count)
        _, columns, context = planted.pop(fault)
        missed.append(list(truth.values()).count(fault) - mine.count(fault))
        assert mine.count(fault) >= 0.95 * len(mine), f"{fault}: {case.title}"
        assert missed[-1] <= 0.05 * list(truth.values()).count(fault), f"{fault}: {case.title}"
        assert columns <= set(case.columns)
        assert all(column in case.what for column in columns)
        assert case.context == ((context,) if context else ()), case.title
        assert (case.first, case.last, case.batches) == ("2026-03-07", "2026-03-11", 5)
    assert not planted, "each fault has a case of its own"
    assert cases(pipeline, since=dt.date(2026, 3, 10)).cases[0].batches == 2
