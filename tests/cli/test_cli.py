"""The command line: exit codes, errors in a paragraph, one JSON document for scripts, no trust in what cells hold."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import flowguard
from flowguard.cli import output
from flowguard.cli.main import app
from flowguard.stages.score import score as score_stage
from flowguard.tables.sheet import neutral
from tests.conftest import meters, write_project

COMMANDS = (
    *("init", "check", "train", "score", "flagged", "cases", "why", "verdict", "verdicts", "rules", "report", "drift"),
    *("models", "gate", "promote", "recalibrate", "prune", "demo", "deploy", "notify", "review", "users"),
    *("doctor", "metrics", "schema"),
)


def flowguard_(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """What a command says that was given wrong input: one paragraph on stderr, exit code 2."""
    result = flowguard_(*arguments)
    assert result.exit_code == 2, result.output
    assert all(line.endswith(" ...") for line in result.stdout.splitlines()), "what was begun, no result"
    assert result.stderr.startswith("flowguard: ")
    assert "\n\n" not in result.stderr.strip()
    assert "Traceback" not in result.stderr
    return result.stderr


def files_below(folder: Path) -> set[Path]:
    """All files but fetched bundles, which are whole or not there."""
    return {path for path in folder.rglob("*") if path.is_file() and ".bundles" not in path.parts}


def subprocess_run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowguard.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# -- the program -----------------------------------------------------------------------------------------------------


def test_without_arguments_it_helps_and_version_is_a_line() -> None:
    helped = flowguard_()
    assert all(command in helped.output for command in COMMANDS)
    versioned = flowguard_("--version")
    assert (versioned.exit_code, versioned.stdout.strip()) == (0, f"flowguard {flowguard.__version__}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_and_offers_json(command: str) -> None:
    result = flowguard_(command, "--help")
    assert result.exit_code == 0
    assert f"flowguard {command}" in result.output
    assert "--json" in result.output


def test_a_misspelt_option_is_wrong_input() -> None:
    result = flowguard_("score", "x.yaml", "--bacth", "1")
    assert result.exit_code == 2
    assert "--bacth" in result.stderr


def test_as_a_program_it_leaves_with_the_same_codes(tmp_path: Path) -> None:
    done = subprocess_run("check", tmp_path / "none.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no such file" in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess_run("schema")
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == "flowguard pipeline"


def test_a_reader_that_goes_away_is_no_failure() -> None:
    shell = f"{sys.executable} -m flowguard.cli.main schema | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_an_interruption_says_that_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, project: Path) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowguard.stages.score.score_batch", interrupt)
    result = flowguard_("score", project)
    assert result.exit_code == 130
    assert "run the same command again" in result.stderr


def test_a_failure_that_is_not_the_users_leaves_with_one(project: Path) -> None:
    score_stage(project, batch="part0")
    (manifest,) = (project.parents[1] / "runs/meters/manifests").rglob("*.json")
    manifest.write_text("{")
    result = flowguard_("flagged", project)
    assert result.exit_code == 1
    assert manifest.name in result.stderr
    assert "Traceback" not in result.stderr


# -- scripts ---------------------------------------------------------------------------------------------------------


def document(*arguments: object) -> Any:
    result = flowguard_(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_every_command_prints_one_json_document(project: Path, tmp_path: Path) -> None:
    runs = project.parents[1] / "runs"
    drafted = document("init", project.parents[1] / "data", "--out", tmp_path / "own.yaml")
    assert drafted["features"] == ["site", "power", "flow"]
    assert drafted["context"] == ["hour"]
    assert document("check", project)["rows"] == 3000
    assert document("train", project)["registered"]["known"] is True
    scored = document("score", project)
    assert [(batch["batch"], batch["fresh"], batch["read"]) for batch in scored] == [
        (f"part{number}", True, 1000) for number in range(3)
    ]
    flagged = document("flagged", project, "--top", "2")
    assert {"id", "log_likelihood", "score", "p_value", "version", "reasons"} <= set(flagged[0])
    reported = document("report", project)
    assert len(reported["pages"]) == 3
    assert reported["drift"].endswith("reports/drift.html")
    assert reported["drifted"] == "No drift alarm in 3 batches."
    drifted = document("drift", project)
    assert (drifted["version"], drifted["page"], len(drifted["records"])) == (1, reported["drift"], 3)
    assert [version["version"] for version in document("models", "--runs", runs)] == [1]
    assert document("promote", "meters", 1, "--runs", runs)["before"] == 1
    assert document("schema")["type"] == "object"
    assert document("schema", "--out", tmp_path / "schema.json") == {"path": str(tmp_path / "schema.json")}


def test_people_are_told_what_was_done_and_what_comes_next(project: Path) -> None:
    told = flowguard_("score", project)
    assert told.exit_code == 0
    assert "3,000 read = 3,000 scored + 0 quarantined" in told.stdout
    assert f"flowguard flagged {project}" in told.stdout
    assert "Nothing new to score" in flowguard_("score", project).stdout
    # A batch is known by its name and by its file.
    for batch in ("part1", project.parents[1] / "data" / "part1.parquet"):
        assert "nothing done" in flowguard_("score", project, "--batch", batch).stdout
    assert "trained from these records and settings before" in flowguard_("train", project).stdout
    assert "champion" in flowguard_("models", "--runs", project.parents[1] / "runs").stdout
    assert "flagged records" in flowguard_("flagged", project).stdout


# -- wrong input -----------------------------------------------------------------------------------------------------


def _no_data(data: Path) -> None:
    for path in data.iterdir():
        path.unlink()


def _no_parquet(data: Path) -> None:
    (data / "part1.parquet").write_text("id,power\n1,2\n" * 100)


def _truncated(data: Path) -> None:
    whole = (data / "part1.parquet").read_bytes()
    (data / "part1.parquet").write_bytes(whole[: len(whole) // 2])


def _changed(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def rewrite(data: Path) -> None:
        for path in data.iterdir():
            pq.write_table(change(pq.read_table(path)), path)

    return rewrite


_COLUMN_GONE = _changed(lambda table: table.drop_columns("flow"))
_COLUMN_IS_TEXT = _changed(lambda table: table.set_column(4, "flow", table["flow"].cast(pa.string())))
_EMPTY = _changed(lambda table: table.slice(0, 0))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_no_data, ["data/*.parquet", "Parquet"]),
        (_no_parquet, ["part1.parquet", "not a Parquet file"]),
        (_truncated, ["part1.parquet", "cut off"]),
        (_COLUMN_GONE, ["'flow'", "missing", "columns.features.flow"]),
        (_COLUMN_IS_TEXT, ["'flow'", "string", "numbers"]),
        (_EMPTY, ["data/*.parquet", "empty"]),
    ],
    ids=["missing", "not Parquet", "truncated", "column gone", "column of text", "empty"],
)
def test_data_that_does_not_fit_is_refused_and_nothing_is_written(
    project: Path, damage: Callable[[Path], None], words: Sequence[str]
) -> None:
    data, runs = project.parents[1] / "data", project.parents[1] / "runs"
    damage(data)
    before = files_below(runs)
    for command in ("check", "train", "score"):
        said = refused(command, project)
        found = [word for word in words if word in said]
        # Scoring reads the version's columns, not the pipeline file's: it cannot name the key that wants them.
        assert found == words or (command == "score" and found), said
    assert files_below(runs) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source: [", "line"),
        ("- a\n- b\n", "mapping"),
        ("", "empty"),
        ("source: {path: x}\ncolumns: {features: {a: number}}\npolcy: {}\n", "did you mean `policy`"),
        ("source: {path: x}\ncolumns: {feature: {a: number}}\n", "did you mean `features`"),
    ],
    ids=["no YAML", "a list", "empty", "unknown section", "unknown key"],
)
def test_a_pipeline_file_that_cannot_be_read_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    for command in ("check", "train", "score", "flagged", "report"):
        said = refused(command, path)
        assert "wrong.yaml" in said
        assert words in said
    assert files_below(tmp_path) == {path}


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(b"\xff\xfe\x00name: \x80")
    assert "wrong.yaml" in refused("check", path)


def test_what_is_not_there_is_refused_with_what_to_do(project: Path, tmp_path: Path) -> None:
    runs = project.parents[1] / "runs"
    assert "no such file" in refused("train", tmp_path / "none.yaml")
    fresh = write_project(tmp_path / "fresh")
    assert "flowguard train" in refused("score", fresh)
    assert files_below(tmp_path / "fresh").isdisjoint((tmp_path / "fresh" / "runs").rglob("*"))
    assert "part2" in refused("score", project, "--batch", "part22")
    assert "no version 7" in refused("score", project, "--version", "7")
    assert "has not been scored" in refused("flagged", project, "--batch", "part0")
    assert "flowguard score" in refused("report", project)
    assert "no version 9" in refused("promote", "meters", 9, "--runs", runs)
    assert "metres" in refused("promote", "metres", 1, "--runs", runs)
    assert "no flows/demo.py" in refused("demo", "--project", tmp_path)
    assert "no flows/deploy.py" in refused("deploy", "--project", tmp_path)


def test_a_level_that_the_records_cannot_support_is_refused_before_training(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    path.write_text(path.read_text().replace("false_alarm_rate: 0.01", "false_alarm_rate: 0.0001"))
    said = refused("train", path)
    assert "9,999" in said
    assert not list((tmp_path / "project" / "runs").rglob("*.pt"))


def test_init_writes_over_nothing_unless_told_to(project: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "own.yaml", project.parents[1] / "data"
    out.write_text("mine")
    assert "--force" in refused("init", data, "--out", out)
    assert out.read_text() == "mine"
    assert flowguard_("init", data, "--out", out, "--force").exit_code == 0
    assert flowguard_("check", out).exit_code == 0
    assert "none.parquet" in refused("init", tmp_path / "none.parquet", "--out", tmp_path / "new.yaml")
    assert not (tmp_path / "new.yaml").exists()


# -- hostile cells ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "[bold]x[/bold]",
    "=cmd()|'/c calc'!A1",
    "\x1b[31mred\x1b[0m",
    ":boom: \\",
    "a\u202egpj.exe",
    "[/]",
    "\x9b2J",
]


def test_cells_are_shown_as_text_and_never_obeyed(project: Path) -> None:
    """A key column that is text, and a file whose every record is absurd."""
    project.write_text(project.read_text().replace("key: [id]", "key: [label]"))
    table = meters(len(HOSTILE), 5).drop_columns(["power"])
    table = table.append_column("power", pa.array([1e6 + row for row in range(len(HOSTILE))]))
    for path in (project.parents[1] / "data").iterdir():
        path.unlink()
    pq.write_table(table.append_column("label", pa.array(HOSTILE)), project.parents[1] / "data" / "odd.parquet")
    assert flowguard_("score", project).exit_code == 0

    told = flowguard_("flagged", project).stdout
    assert "[bold]x[/bold]" in told
    assert r"\x1b[31mred\x1b[0m" in told
    assert ":boom: \\" in told
    assert r"a\u202egpj.exe" in told
    assert not set("\x1b\x9b\u202e") & set(told)

    rows = list(csv.DictReader(io.StringIO(flowguard_("flagged", project, "--format", "csv").stdout)))
    assert len(rows) == len(HOSTILE)
    labels = {row["label"] for row in rows}
    assert "'=cmd()|'/c calc'!A1" in labels
    assert r"\x1b[31mred\x1b[0m" in labels
    assert all("power" in row["reasons"] for row in rows)

    exact = document("flagged", project, "--format", "json")
    assert {row["label"] for row in exact} == set(HOSTILE)
    assert flowguard_("report", project).exit_code == 0


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert str(neutral(cell)).startswith("'")
    assert neutral(-1.5) == -1.5
    assert neutral(None) is None


def test_an_error_that_quotes_data_is_no_escape_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("column '\x1b]0;owned\x07' is missing")
    assert capsys.readouterr().err == "flowguard: column '\\x1b]0;owned\\x07' is missing\n"


def test_numbers_that_json_lacks_become_null() -> None:
    assert output.plain({"a": [float("nan"), float("inf"), Path("x")], 1: True}) == {"a": [None, None, "x"], "1": True}
