"""Why: the word of the time of scoring, whatever became of the source since; and counterparts that help to judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.detector import load
from flowguard.errors import FlowguardError, InputError
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import manifest_path, read_manifest
from flowguard.stages.score import score
from flowguard.stages.why import Why, why
from flowguard.tables import Source, record_ids
from flowguard.tables.files import FileSource
from tests.conftest import meters

ODD, CONSTRUED, REFUSED, LIKE = 9_000_007, 9_000_008, 9_000_009, 9_000_010


def odd_batch() -> pa.Table:
    """Ordinary records, but the eighth has absurd power, the tenth an infinite one; the ninth is the third, flow aside.

    The eleventh is as odd as the eighth, to another degree.
    """
    table = meters(300, 9)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for row, power in [(7, 400.0), (9, float("inf")), (10, 300.0)]:
        columns["power"][row] = power
    columns["flow"][2] = columns["power"][2] * 10
    for name in ("site", "hour", "power"):
        columns[name][8] = columns[name][2]
    columns["flow"][8] = -500.0
    return pa.table(columns, schema=table.schema)


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline with four scored batches; to be read only."""
    folder = tmp_path_factory.mktemp("why") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    path = folder / "pipelines/meters.yaml"
    score(path)
    return path


@pytest.fixture
def changed(scored: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(scored.parents[1], tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def told(path: Path, key: object, **options: Any) -> Why:
    answer = why(path, str(key), **options)
    assert answer.record is not None
    assert (answer.matches, answer.total) == ((), 1)
    return answer.record


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Deliver the odd batch again."""
    file = path.parents[1] / "data/odd.parquet"
    pq.write_table(change(pq.read_table(file)), file)


def with_power(id: int, power: float) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        values = np.where(table["id"].to_numpy() == id, power, table["power"].to_numpy())
        return table.set_column(table.column_names.index("power"), "power", pa.array(values))

    return change


# -- the outcome -----------------------------------------------------------------------------------------------------


def test_a_flagged_record_is_told_as_it_was_scored(scored: Path) -> None:
    record = told(scored, f"id={ODD}")
    (listed,) = (one for one in flagged(scored, batch="odd", top=None).records if one.key == {"id": ODD})
    outcome = record.outcome
    assert (outcome.state, outcome.batch, outcome.version, outcome.key) == ("flagged", "odd", 1, {"id": ODD})
    assert (outcome.score, outcome.p_value) == (listed.score, listed.p_value)
    assert record.log_likelihood == listed.log_likelihood == pytest.approx(record.log_mass + record.log_density)
    assert record.written
    assert record.reasons == listed.reasons
    assert "0.01 or below" in record.sentence
    assert (record.level, record.cell, record.cell_size) == (0.01, "all", 450)
    assert record.threshold is not None
    assert outcome.score > record.threshold
    higher = sum(one.score > outcome.score for one in flagged(scored, batch="odd", top=None).records)
    assert (record.place, record.of) == (1 + higher, 299)
    assert record.origin == "unchanged"
    assert record.notes == record.others == ()
    assert record.values["power"] == 400.0
    assert record.units["power"] == "kW"


def test_a_record_that_was_not_flagged_gets_its_reasons_from_the_version_that_scored_it(scored: Path) -> None:
    record = told(scored, 9_000_020)
    assert record.outcome.state == "ordinary"
    assert not record.written
    assert "only at 0.01 or below" in record.sentence
    assert record.alike == ()
    detector = load(next((scored.parents[1] / "runs/.bundles").iterdir()))
    batch = odd_batch().combine_chunks().to_batches()[0]
    encoded = detector.encode(batch)
    everyone = detector.reasons(
        batch, encoded, detector.evaluate(encoded), np.arange(300), record_ids=record_ids(batch, ["id"]), top=3
    )
    assert list(record.reasons) == everyone[20], "the same bits as in its batch"
    assert record.outcome.score == detector.score(batch).score[20]


def test_a_quarantined_record_says_why(scored: Path) -> None:
    record = told(scored, REFUSED)
    assert record.outcome.state == "quarantined"
    assert record.outcome.refused == "power is infinite"
    assert f"`flowguard score {scored} --batch odd`" in record.sentence
    assert (
        record.outcome.score is record.outcome.p_value is record.log_likelihood is record.place is record.cell is None
    )
    assert record.reasons == record.ordinary == record.alike == ()


def test_a_record_is_found_by_its_id_and_by_its_key(scored: Path) -> None:
    record_id = told(scored, f"id={ODD}").outcome.record_id
    assert told(scored, record_id, batch="odd", near=0).outcome.key == {"id": ODD}


def test_part_of_a_key_lists_what_there_is(changed: Path) -> None:
    changed.write_text(changed.read_text().replace("key: [id]", "key: [site, id]"))
    score(changed, force=True)
    answer = why(changed, "site=south", batch="odd")
    south = int((np.array(odd_batch()["site"].to_pylist()) == "south").sum())
    assert answer.record is None
    assert answer.total == south
    assert len(answer.matches) == 20
    assert {one.key["site"] for one in answer.matches} == {"south"}
    assert why(changed, f"site=south,id={answer.matches[3].key['id']}", near=0).total == 1
    other = {"south": "north", "north": "south"}[told(changed, f"id={ODD}", near=0).outcome.key["site"]]
    with pytest.raises(InputError, match=rf"All but one column agree in: site=\w+, id={ODD}\b") as caught:
        why(changed, f"site={other},id={ODD}")
    assert "\n" not in str(caught.value)


def test_without_a_key_a_record_is_known_by_its_content(changed: Path) -> None:
    changed.write_text(changed.read_text().replace("  key: [id]\n", ""))
    score(changed, batch="odd", force=True)
    strangest, *_ = flagged(changed, batch="odd", top=2).records
    record = told(changed, strangest.record_id)
    assert record.outcome.key == {}
    assert record.values["flow"] == -500.0
    assert record.ordinary[0].differs == ("flow",)
    rewrite(changed, with_power(CONSTRUED, 4.321))
    assert told(changed, strangest.record_id).origin == "gone"
    with pytest.raises(InputError, match="names no key columns"):
        why(changed, f"id={CONSTRUED}")


def test_what_was_not_scored_is_refused_with_what_was(scored: Path, project: Path) -> None:
    with pytest.raises(InputError, match=r"no scored record has id=77777.*4 batches were scored, odd to part2.*key"):
        why(scored, "77777")
    with pytest.raises(InputError, match=r"record_id f{32} or id=f{32}"):
        why(scored, "f" * 32)
    with pytest.raises(InputError, match=r"batch 'part7' has not been scored yet; 4 batches"):
        why(scored, "5", batch="part7")
    with pytest.raises(InputError, match=r"no batch has been scored by version 3 yet; version 1 scored it"):
        why(scored, "5", version=3)
    with pytest.raises(InputError, match=r"no batch has been scored yet\. Run `flowguard score"):
        why(project, "5")


# -- what became of the record ---------------------------------------------------------------------------------------


def test_a_source_that_was_written_again_with_the_same_record_changes_nothing(scored: Path, changed: Path) -> None:
    before = told(scored, 9_000_020)
    rewrite(changed, with_power(9_000_050, 77.0))
    after = told(changed, 9_000_020)
    assert (before.origin, after.origin) == ("unchanged", "written again")
    assert after.reasons == before.reasons


@pytest.mark.parametrize("id", [ODD, 9_000_020, REFUSED])
def test_a_record_that_was_delivered_again_is_told_as_it_was_and_nothing_of_the_new_one(changed: Path, id: int) -> None:
    before = told(changed, id)
    rewrite(changed, with_power(id, 4.321))
    after = told(changed, id)
    assert after.origin == "redelivered"
    assert "delivered again with other content" in after.notes[0]
    assert f"flowguard score {changed} --batch odd" in after.notes[0]
    assert (after.outcome, after.place, after.threshold) == (before.outcome, before.place, before.threshold)
    assert after.reasons == (before.reasons if id == ODD else ())
    assert after.values == {}
    assert after.ordinary == ()


def test_a_record_that_is_gone_is_told_from_the_files_of_its_scoring(changed: Path) -> None:
    before = told(changed, ODD)
    rewrite(changed, lambda table: table.filter(pa.array(table["id"].to_numpy() != ODD)))
    after = told(changed, ODD)
    assert after.origin == "gone"
    assert "no longer has this record" in after.notes[0]
    assert (after.outcome, after.reasons, after.alike) == (before.outcome, before.reasons, before.alike)
    (changed.parents[1] / "data/odd.parquet").unlink()
    last = told(changed, ODD)
    assert last.origin == "gone"
    assert "no longer has batch odd" in last.notes[0]
    assert last.reasons == before.reasons


def test_of_several_versions_the_last_to_score_counts_unless_one_is_named(changed: Path) -> None:
    """A second version is made up: the same bundle, whose word on the batch is another."""
    folder = changed.parents[1] / "runs/meters"
    first = read_manifest(manifest_path(folder, "odd", 1))
    assert first is not None
    document = json.loads(manifest_path(folder, "odd", 1).read_text())
    scores = pq.read_table(folder / first.files["scores"], partitioning=None)
    place = scores.column_names.index("p_value")
    scores = scores.set_column(place, "p_value", pa.array(np.full(len(scores), 0.5)))
    place = scores.column_names.index("flag")
    scores = scores.set_column(place, "flag", pa.array(np.zeros(len(scores), dtype=bool)))
    files = {"scores": "scores/batch=odd/version=2/x.parquet"}
    (folder / files["scores"]).parent.mkdir(parents=True)
    pq.write_table(scores, folder / files["scores"])
    later = {**document, "version": 2, "files": files, "flagged": 0, "started": "2999-01-01T00:00:00.000+00:00"}
    manifest_path(folder, "odd", 2).write_text(json.dumps(later))

    latest = told(changed, ODD)
    assert (latest.outcome.version, latest.outcome.state, latest.outcome.p_value) == (2, "ordinary", 0.5)
    (other,) = latest.others
    assert (other.version, other.state) == (1, "flagged")
    named = told(changed, ODD, version="1")
    assert (named.outcome.version, named.outcome.state) == (1, "flagged")
    assert named.others[0].version == 2
    assert told(changed, 5).others == ()

    # A version that nobody has any more: what the files say is all there is.
    later["bundle"] = "0" * 64
    manifest_path(folder, "odd", 2).write_text(json.dumps(later))
    lost = told(changed, ODD)
    assert "Version 2 cannot be asked again" in lost.notes[0]
    assert (lost.outcome.p_value, lost.origin, lost.threshold) == (0.5, "not looked at", None)


def test_a_score_file_that_is_gone_is_told(changed: Path) -> None:
    shutil.rmtree(changed.parents[1] / "runs/meters/scores/batch=part1")
    with pytest.raises(FlowguardError, match=r"is gone.*batch part1"):
        why(changed, str(ODD))
    assert told(changed, ODD, batch="odd").outcome.state == "flagged"


# -- counterparts ----------------------------------------------------------------------------------------------------


def test_the_nearest_ordinary_record_of_one_that_was_construed_is_what_it_was_made_from(scored: Path) -> None:
    record = told(scored, CONSTRUED)
    assert record.outcome.state == "flagged"
    assert record.reasons[0].column == "flow"
    first = record.ordinary[0]
    assert first.key == {"id": 9_000_002}
    assert first.differs == ("flow",)
    assert first.p_value > 0.05
    assert list(first.values) == ["power", "flow", "hour", "site"]
    assert [one.distance for one in record.ordinary] == sorted(one.distance for one in record.ordinary)
    assert {one.batch for one in record.ordinary} == {"odd"}


def test_flagged_records_that_are_odd_in_the_same_way_come_first_whatever_the_degree(scored: Path) -> None:
    record = told(scored, LIKE)
    assert record.reasons[0].column == "power"
    assert record.alike[0].key == {"id": ODD}
    assert record.alike[0].likeness > 0.9
    assert record.outcome.record_id not in {one.record_id for one in record.alike}
    assert len(told(scored, LIKE, near=1).alike) == 1


@pytest.fixture
def batches_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    real = FileSource.read

    def reading(self: Source, columns: Any = None, *, batch: Any = None, **options: Any) -> Any:
        read.append(str(batch))
        return real(self, columns, batch=batch, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FileSource, "read", reading)
    return read


def test_no_more_is_read_than_the_records_own_batch(scored: Path, batches_read: list[str]) -> None:
    told(scored, ODD)
    assert batches_read == ["odd"]
    told(scored, ODD, near=0)
    assert batches_read == ["odd"], "its reasons were written"
    told(scored, 1_000_000, near=0)
    assert batches_read == ["odd", "part1"]


def test_of_a_small_batch_ordinary_records_come_from_the_batches_beside_it(
    changed: Path, batches_read: list[str]
) -> None:
    odd = odd_batch().slice(6, 3)
    pq.write_table(odd.set_column(0, "id", pa.array([1, 2, 3])), changed.parents[1] / "data/part10.parquet")
    score(changed, batch="part10")
    batches_read.clear()
    record = told(changed, "2", batch="part10")
    assert batches_read == ["part10", "part1"], "the names beside it are part1 and part2"
    assert record.ordinary
    assert {one.batch for one in record.ordinary} <= {"part1", "part10"}


def test_redacted_columns_are_shown_nowhere(changed: Path) -> None:
    changed.write_text(changed.read_text().replace("key: [id]", "key: [id]\n  redact: [id, hour]"))
    answer = why(changed, f"id={CONSTRUED}")
    record = answer.record
    assert record is not None
    assert answer.key == ()
    assert list(record.values) == ["power", "flow", "site"]
    assert all(list(one.values) == ["power", "flow", "site"] and not one.key for one in record.ordinary)
    assert "hour" not in {name for one in record.ordinary for name in one.differs}
    assert str(CONSTRUED) not in str(answer)
    with pytest.raises(InputError) as caught:
        why(changed, "id=31415926")
    assert "31415926" not in str(caught.value)
