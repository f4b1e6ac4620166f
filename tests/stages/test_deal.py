"""Dealing: whole units to one side each, the same ones every time, and a clear word when it cannot serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import CalibrationError, SourceError
from flowguard.stages.deal import PARTS, deal, stream, units_of
from tests.conftest import PIPELINE, meters, write_project


def sides(folder: Path, part: str) -> set[str]:
    return {unit for batch in stream(folder, part)() for unit in units_of(batch).tolist()}


def grouped(folder: Path, *, groups: int = 60) -> Path:
    """A project whose records belong to customers, who stay on one side."""
    path = write_project(folder, PIPELINE.replace("split: {", "split: {unit: [customer], "))
    for number in range(3):
        table = meters(1000, number)
        customer = pa.array(np.random.default_rng(number).integers(0, groups, 1000))
        pq.write_table(table.append_column("customer", customer), folder / "data" / f"part{number}.parquet")
    return path


def test_every_record_goes_to_one_part_and_every_unit_to_one_side(tmp_path: Path) -> None:
    dealt = deal(grouped(tmp_path / "project"))
    assert sum(dealt.records.values()) == 3000
    units = {part: sides(dealt.folder, part) for part in PARTS}
    assert sum(map(len, units.values())) == len(set.union(*units.values())) == 60
    rows = {part: sum(batch.num_rows for batch in stream(dealt.folder, part)()) for part in PARTS}
    assert rows == dealt.records
    assert 0.3 < dealt.records["train"] / 3000 < 0.7


def test_the_same_records_and_settings_are_known_by_the_same_key(tmp_path: Path) -> None:
    path = grouped(tmp_path / "project")
    first = deal(path)
    # Another order of rows and other files: the same records.
    whole = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "project/data").iterdir())])
    for file in (tmp_path / "project/data").iterdir():
        file.unlink()
    shuffled = whole.take(np.random.default_rng(1).permutation(3000))
    pq.write_table(shuffled, tmp_path / "project/data/all.parquet", row_group_size=700)
    again = deal(path)
    assert (again.key, again.fingerprint, again.records) == (first.key, first.fingerprint, first.records)
    assert {part: sides(again.folder, part) for part in PARTS} == {part: sides(first.folder, part) for part in PARTS}
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 4"))
    assert deal(path).key != first.key
    path.write_text(path.read_text() + "output: {reasons: 5}\nschedule: {cron: 0 6 * * *}\n")
    other = deal(path)
    path.write_text(path.read_text().replace("reasons: 5", "reasons: 2"))
    assert deal(path).key == other.key, "what is written and when does not make another version"


def test_too_few_units_are_said_with_what_to_do(tmp_path: Path) -> None:
    path = grouped(tmp_path / "project", groups=1)
    with pytest.raises(SourceError, match=r"got none of 3,000 records: whole units \(customer\)"):
        deal(path)
    assert not [file for file in (tmp_path / "project/runs/meters").rglob("*") if file.is_file()]


def test_a_level_that_the_calibration_records_cannot_support_costs_no_training(tmp_path: Path) -> None:
    path = grouped(tmp_path / "project")
    path.write_text(path.read_text().replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.0005"))
    with pytest.raises(CalibrationError, match=r"0\.0005 needs 1,999 calibration records"):
        deal(path)
    assert not [file for file in (tmp_path / "project/runs/meters").rglob("*") if file.is_file()]


def test_a_period_without_records_is_said(tmp_path: Path) -> None:
    path = grouped(tmp_path / "project")
    text = path.read_text().replace("split: {", "split: {since: 2030-01-01, ")
    path.write_text(text.replace("key: [id]", "key: [id]\n  time: at"))
    for file in (tmp_path / "project/data").iterdir():
        table = pq.read_table(file)
        at = pa.array(np.datetime64("2026-01-01", "s") + np.arange(table.num_rows))
        pq.write_table(table.append_column("at", at), file)
    with pytest.raises(SourceError, match=r"split's period \(2030-01-01 to the end\)"):
        deal(path)
