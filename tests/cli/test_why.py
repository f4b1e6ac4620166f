"""`flowguard why`: a page of plain text for people, one document for scripts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flowguard.cli.main import app
from flowguard.stages.score import score
from tests.stages.test_why import CONSTRUED, LIKE, ODD, REFUSED, odd_batch


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    path = folder / "pipelines/meters.yaml"
    score(path)
    return path


def asked(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["why", *map(str, arguments)])


def test_people_read_the_verdict_the_numbers_the_reasons_and_the_counterparts(scored: Path) -> None:
    result = asked(scored, f"id={CONSTRUED}")
    assert result.exit_code == 0, result.output
    said = result.stdout
    order = [
        f"id {CONSTRUED}: flagged in batch odd by version 1, scored 20",
        "at 0.01 or below records were flagged",
        "as it was scored",
        "of 299 in its batch",
        "false alarm rate 1 %",
        "Reasons, as written when it was scored",
        "flow -500; ",
        "The nearest ordinary records",
        "≠ ",
        "Next:",
        f"flowguard flagged {scored} --batch odd",
    ]
    places = [said.find(words) for words in order]
    assert -1 not in places, said
    assert places == sorted(places)
    assert "9000002" in said
    assert "kW" in said


def test_what_is_like_it_what_is_ordinary_and_what_was_refused(scored: Path) -> None:
    alike = asked(scored, LIKE).stdout
    assert "Other flagged records like it" in alike
    assert str(ODD) in alike
    ordinary = asked(scored, 9_000_020).stdout
    assert "not flagged in batch odd" in ordinary
    assert "Reasons, found now by the same version" in ordinary
    assert "Other flagged records" not in ordinary
    refused = asked(scored, REFUSED).stdout
    assert "quarantined in batch odd" in refused
    assert "power is infinite" in refused
    assert "p_value" not in refused


def test_scripts_get_one_document(scored: Path) -> None:
    result = asked(scored, ODD, "--json", "--near", 1)
    document = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["total"] == 1
    record = document["record"]
    assert record["outcome"]["state"] == "flagged"
    assert record["reasons"][0]["column"] == "power"
    assert len(record["ordinary"]) == len(record["alike"]) == 1
    assert record["values"]["power"] == 400.0


def test_several_matches_are_listed_with_how_to_name_one(scored: Path, tmp_path: Path) -> None:
    shutil.copytree(scored.parents[1], tmp_path / "project")
    path = tmp_path / "project/pipelines/meters.yaml"
    path.write_text(path.read_text().replace("key: [id]", "key: [site, id]"))
    score(path, batch="odd", force=True)
    result = asked(path, "site=south", "--batch", "odd")
    assert result.exit_code == 0
    assert "records match, the first 20" in result.stdout
    assert "--batch" in result.stdout
    record_id = json.loads(asked(path, "site=south", "--batch", "odd", "--json").stdout)["matches"][0]["record_id"]
    assert f"flowguard why {path} {record_id}" in result.stdout
    assert asked(path, record_id, "--near", 0).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["power=3"], "key column id"),
        (["31415926"], "4 batches were scored"),
        (["id=many"], "key column id holds int64"),
        ([ODD, "--batch", "part9"], "has not been scored"),
        ([ODD, "--version", "7"], "version 1 scored it"),
        ([ODD, "--version", "challenger"], "challenger"),
    ],
)
def test_wrong_input_is_a_paragraph_on_standard_error(scored: Path, arguments: list[object], words: str) -> None:
    result = asked(scored, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.startswith("flowguard: ")
    assert "Traceback" not in result.output
