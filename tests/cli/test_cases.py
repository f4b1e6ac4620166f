"""`flowguard cases`: a table for people, a document for scripts, the records of one case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flowguard.cli.main import app
from tests.stages.test_cases import odd


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["cases", *(str(argument) for argument in arguments)])


@pytest.fixture
def scored(project: Path) -> Path:
    odd(project)
    return project


def test_the_table_names_what_is_wrong_and_what_comes_next(scored: Path) -> None:
    result = run(scored, "--batch", "odd")
    assert result.exit_code == 0, result.output
    assert "power" in result.output
    assert "north (all of them)" in result.output
    assert "flow always 7: " in result.output
    assert f"flowguard cases {scored} --case " in result.output
    assert f"flowguard report {scored}" in result.output


def test_the_document_has_every_record_once_and_a_case_can_be_looked_into(scored: Path) -> None:
    result = run(scored, "--json")
    assert result.exit_code == 0, result.output
    cases = json.loads(result.stdout)
    assert {"id", "title", "columns", "directions", "context", "weight", "first", "last", "records"} <= set(cases[0])
    records = [(record["batch"], record["record_id"]) for case in cases for record in case["records"]]
    assert len(records) == len(set(records)) == sum(case["size"] for case in cases)
    assert [case["weight"] for case in cases] == sorted((case["weight"] for case in cases), reverse=True)

    case = cases[0]
    assert json.loads(run(scored, "--case", case["id"], "--json").stdout) == [case]
    shown = run(scored, "--case", case["id"], "--top", 3).output
    assert case["title"] in " ".join(shown.split())
    assert "(the strangest 3)" in " ".join(shown.split())
    assert str(case["records"][0]["id"]) in shown
    assert " expected" in shown


def test_what_is_left_out_of_the_table_is_counted(scored: Path) -> None:
    result = run(scored, "--top", 1)
    assert result.exit_code == 0
    assert " more with " in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--case", "nope"], "no case 'nope'"), (["--batch", "nope"], "batch 'nope' has not been scored")],
)
def test_wrong_input_is_told(scored: Path, arguments: list[str], said: str) -> None:
    result = run(scored, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_nothing_scored_says_how_to_score(project: Path) -> None:
    result = run(project)
    assert result.exit_code == 2
    assert "flowguard score" in result.stderr


def test_help_shows_an_example() -> None:
    result = run("--help")
    assert "flowguard cases" in result.output
    assert "--json" in result.output
