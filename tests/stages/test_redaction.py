"""Redacted columns: their values reach the user's own score files and nothing else."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.errors import PipelineError, SchemaError
from flowguard.stages.check import check
from flowguard.stages.train import train
from tests.conftest import PIPELINE, meters, write_project

SECRET = "Xq7-secret-holder-"
NUMBER = 777_123_456.0  # a redacted number that is context; its mean and deviation are kept, no value is


def secretive(project: Path) -> Path:
    """Another pipeline of the project, whose key holds a secret text and whose context a secret number."""
    text = PIPELINE.replace("key: [id]", "key: [id, holder]\n  redact: [holder, account]")
    text = text.replace("    site: category", "    site: category\n    account: number")
    path = project.with_name("accounts.yaml")
    path.write_text(text.replace("name: meters", "name: accounts").replace("data/", "accounts/"))
    folder = project.parents[1] / "accounts"
    folder.mkdir()
    for number in range(2):
        table = meters(1500, number)
        rows = range(table.num_rows)
        table = table.append_column("holder", pa.array([f"{SECRET}{row}" for row in rows]))
        account = [NUMBER if row == 5 else 1e6 + 17 * row for row in rows]
        # One is flagged, one is quarantined: nowhere else are values looked at so closely.
        power = [
            1e5 if row == 7 else float("inf") if row == 9 else value
            for row, value in enumerate(table["power"].to_pylist())
        ]
        table = table.set_column(3, "power", pa.array(power)).append_column("account", pa.array(account))
        pq.write_table(table, folder / f"part{number}.parquet")
    return path


def test_values_of_redacted_columns_stay_in_the_score_files(project: Path) -> None:
    path = secretive(project)
    printed = []
    for arguments in (["check"], ["train"], ["train", "--json"], ["score"], ["score", "--force", "--json"], ["report"]):
        result = CliRunner().invoke(app, [arguments[0], str(path), *arguments[1:]])
        assert result.exit_code == 0, result.output
        printed.append(result.output)
    assert "power is infinite" in printed[3], "the quarantined records were told of"
    for form in ("table", "csv", "json"):
        result = CliRunner().invoke(app, ["flagged", str(path), "--format", form])
        assert result.exit_code == 0
        assert "power" in result.output
        printed.append(result.output)

    runs = project.parents[1] / "runs"
    kept = [runs / "accounts" / kind for kind in ("scores", "quarantine")]
    searched = [p for p in runs.rglob("*") if p.is_file() and not any(p.is_relative_to(folder) for folder in kept)]
    assert {"mlflow.db", "run.html", "encoder.json"} <= {file.name for file in searched}
    for needle in (SECRET, "777123456", "777,123,456", "7.77123e"):
        for file in searched:
            assert needle.encode() not in file.read_bytes(), f"{needle} in {file.relative_to(runs)}"
        assert not any(needle in text for text in printed)
    reasons = [
        pq.read_table(file, partitioning=None).to_pylist() for file in (runs / "accounts/reasons").rglob("*.parquet")
    ]
    assert reasons
    assert SECRET not in str(reasons)
    scores = next((runs / "accounts/scores").rglob("*.parquet"))
    assert pq.read_table(scores, partitioning=None)["holder"][0].as_py().startswith(SECRET)


def test_a_redacted_category_is_refused_since_a_model_holds_its_levels(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project", PIPELINE.replace("key: [id]", "key: [id]\n  redact: [site]"))
    with pytest.raises(PipelineError, match=r"columns\.context\.site.*levels of its categories"):
        check(path)


def test_a_redacted_category_read_under_another_name_is_refused_too(tmp_path: Path) -> None:
    text = PIPELINE.replace("key: [id]", "key: [id]\n  redact: [site]")
    path = write_project(tmp_path / "project", text.replace("site: category", "place: {kind: category, column: site}"))
    with pytest.raises(PipelineError, match=r"columns\.context\.place"):
        check(path)


def test_a_redacted_column_that_names_folders_is_refused(tmp_path: Path) -> None:
    text = PIPELINE.replace("batch: file", "batch: partition\n  redact: [owner]").replace("data/*.parquet", "data")
    path = write_project(tmp_path / "project", text)
    for file in (tmp_path / "project" / "data").iterdir():
        folder = file.parent / f"owner={SECRET}{file.stem}"
        folder.mkdir()
        file.rename(folder / file.name)
    for stage in (check, train):
        with pytest.raises(SchemaError, match="names of folders") as caught:
            stage(path)
        assert SECRET not in str(caught.value)


def test_inferred_columns_leave_redacted_ones_alone(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    text = path.read_text()
    start, stop = text.index("columns:"), text.index("split:")
    path.write_text(text[:start].replace("key: [id]", "key: [id]\n  redact: [site]") + "columns: infer\n" + text[stop:])
    checked = check(path)
    assert (checked.features, checked.context) == (("power", "flow"), ("hour",))


@pytest.mark.parametrize("name", ["score", "record_id", "flag", "version"])
def test_a_key_that_would_hide_a_column_of_the_output_is_refused(tmp_path: Path, name: str) -> None:
    path = write_project(tmp_path / "project", PIPELINE.replace("key: [id]", f"key: [{name}]"))
    with pytest.raises(PipelineError, match=r"source\.key.*rename"):
        check(path)


def test_init_keeps_no_key_that_would_hide_a_column_of_the_output(tmp_path: Path) -> None:
    from flowguard.stages.init import init

    table = meters(300, 1)
    pq.write_table(table.rename_columns(["record_id", *table.schema.names[1:]]), tmp_path / "x.parquet")
    drafted = init(str(tmp_path / "x.parquet"), tmp_path / "x.yaml")
    assert drafted.key == ()
    assert "record_id is unique" in (tmp_path / "x.yaml").read_text()
    assert check(tmp_path / "x.yaml").rows == 300
