"""`flowguard rules`: from options to a scope and back to words, one document for scripts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flowguard.cli.main import app
from flowguard.stages.score import score
from tests.stages.test_why import LIKE, ODD, odd_batch


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    score(folder / "pipelines/meters.yaml")
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*arguments: object) -> Any:
    return json.loads(said(*arguments, "--json"), parse_constant=lambda name: pytest.fail(f"{name}"))


def test_a_rule_is_made_told_audited_and_revoked(path: Path) -> None:
    assert "No rule was made yet" in said("rules", path)
    options = ("--column", "power=above:500", "--column", "flow", "--where", f"id={ODD}", "--where", f"id={LIKE}")
    looked = said("rules", path, "add", *options, "--preview")
    assert "It would have kept 2 of the" in looked
    assert "No rule was made yet" in said("rules", path)
    made = said("rules", path, "add", *options, "--why", "a test rig", "--who", "ada", "--days", 7)
    assert f"Rule 1: power too high (at most 500), flow, where id {ODD} or {LIKE}. By ada, until 20" in made
    score(path, batch="odd", force=True)
    listed = said("rules", path)
    assert "1 rule, 1 active" in listed
    assert "a test rig" in listed
    shown = said("flagged", path, "--batch", "odd")
    assert "2 flagged records are not shown, by rules that say they are ordinary: 2 by rule 1." in shown
    assert str(ODD) not in shown
    hidden = said("flagged", path, "--suppressed")
    assert "2 of them not shown, by rules" in hidden
    assert str(ODD) in hidden
    assert "2 flagged records are not shown" in said("cases", path)
    audited = said("rules", path, "audit", 1)
    assert "2 records not shown" in audited
    assert str(LIKE) in audited
    said("verdict", path, f"id={ODD}", "confirmed", "--who", "bob")
    assert "1 of these records was confirmed as anomalies: rule 1 hides such." in said("rules", path, "audit")
    assert "1 of these records was confirmed as anomalies: the rule hides" in said(
        "rules", path, "add", *options, "--preview"
    )
    assert "is revoked, by bob" in said("rules", path, "revoke", 1, "--who", "bob")
    assert "revoked by bob" in said("rules", path)


def test_scripts_get_one_document_each(path: Path) -> None:
    assert document("rules", path) == []
    options = ("--column", "power=above", "--column", "flow=any:-10..600", "--where", "hour=0..23")
    seen = document("rules", path, "add", *options, "--preview")
    scope = {
        "columns": {"power": {"is": "above"}, "flow": {"is": "any", "at_least": -10.0, "at_most": 600.0}},
        "where": {"hour": {"at_least": 0.0, "at_most": 23.0}},
    }
    assert seen["scope"] == scope
    made = document("rules", path, "add", *options, "--why", "a test rig", "--who", "ada")
    assert (made["rule"]["id"], made["rule"]["scope"]) == (1, scope)
    assert made["preview"] == seen["preview"]
    score(path, batch="odd", force=True)
    (row,) = document("rules", path)
    assert (row["rule"], row["state"], row["who"]) == (1, "active", "ada")
    audited = document("rules", path, "audit")
    assert audited["rules"][0]["kept"] == len(audited["records"]) == len(document("flagged", path, "--suppressed"))
    text = said("flagged", path, "--suppressed", "--format", "csv")
    assert ",rule," in text.splitlines()[0]
    assert document("rules", path, "revoke", 1, "--who", "bob")["revoked_by"] == "bob"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "--column"),
        (["add", "--column", "power=high"], "expected one of above, below"),
        (["add", "--column", "power=above:much"], "'much' is no number"),
        (["add", "--column", "power=any:3"], "a bound is a range"),
        (["add", "--column", "power", "--column", "power=above"], "names power twice"),
        (["add", "--column", "power", "--where", "site"], "expected NAME=VALUE"),
        (["add", "--column", "power", "--where", "hour=0..6", "--where", "hour=7"], "a range and more"),
        (["add", "--column", "power"], "why what it keeps away"),
        (["add", "--column", "powr", "--why", "x"], "Did you mean power"),
        (["revoke"], "Give its number"),
        (["revoke", "4"], "has no rule 4"),
        (["audit", "4"], "has no rule 4"),
        (["list", "4"], "leave 4 out"),
        (["--column", "power"], "go with add"),
    ],
)
def test_what_makes_no_rule_is_refused_in_a_paragraph(path: Path, arguments: list[str], words: str) -> None:
    result = run("rules", path, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert document("rules", path) == []
