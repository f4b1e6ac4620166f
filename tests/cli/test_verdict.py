"""`flowguard verdict` and `verdicts`: sentences for people, documents for scripts, notes that nothing obeys."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flowguard.cli.main import app
from flowguard.stages.flagged import flagged
from flowguard.stages.score import score
from flowguard.stages.verdicts import decide
from tests.stages.test_why import CONSTRUED, ODD, REFUSED, odd_batch

HOSTILE = '=HYPERLINK("http://x")\x1b[31m<script>alert(1)</script>\u202eevil [bold]x[/bold]'


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verdict") / "project"
    shutil.copytree(trained_project, folder)
    pq.write_table(odd_batch(), folder / "data/odd.parquet")
    score(folder / "pipelines/meters.yaml")
    return folder


@pytest.fixture
def path(scored: Path, tmp_path: Path) -> Path:
    shutil.copytree(scored, tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def said(command: str, *arguments: object) -> str:
    result = run(command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(command: str, *arguments: object) -> Any:
    return json.loads(said(command, *arguments, "--json"), parse_constant=lambda name: pytest.fail(f"{name}"))


def test_a_verdict_is_told_shown_and_taken_back(path: Path) -> None:
    told = said("verdict", path, f"id={ODD}", "false-alarm", "--who", "ada", "--note", "a meter was changed")
    assert f"id {ODD}: false alarm, by ada (entry 1)." in told
    assert "In batch odd by version 1: flagged, p_value" in told
    assert "Precision, version 1: 0 % (0 to " in told
    assert "Missed, version 1: unknown, no unflagged record drawn at random was decided" in told
    shown = said("why", path, ODD, "--near", 0)
    assert "ada decided false alarm on 20" in shown
    assert "What was decided on it" in shown
    assert "a meter was changed" in shown
    listed = said("flagged", path, "--batch", "odd")
    assert "verdict" in listed
    assert "false alarm" in listed
    back = said("verdict", path, ODD, "--undo", "--who", "ada")
    assert f"id {ODD}: no verdict, by ada (entry 2)." in back
    assert "Before: ada decided false alarm" in back
    assert "verdict" not in said("flagged", path, "--batch", "odd").split("Next:")[0]
    assert "No verdict was given yet." in said("verdicts", path)


def test_who_decides_late_is_told_by_whom_when_what_and_how_to_go_on(path: Path) -> None:
    said("verdict", path, ODD, "confirmed", "--who", "bob")
    late = run("verdict", path, ODD, "false-alarm", "--who", "ada")
    assert late.exit_code == 1
    assert "bob decided confirmed on 20" in late.stderr
    assert "--seen 1" in late.stderr
    assert "Traceback" not in late.output
    assert "Before: bob decided confirmed" in said("verdict", path, ODD, "unsure", "--who", "ada", "--seen", 1)


def test_scripts_get_one_document_each(path: Path) -> None:
    done = document("verdict", path, ODD, "confirmed", "--who", "ada")
    assert (done["entry"]["decision"], done["entry"]["id"], done["key"]) == ("confirmed", 1, {"id": ODD})
    listed = document("verdicts", path)
    (row,) = listed["verdicts"]
    assert (row["id"], row["decision"], row["who"], row["flagged"], row["entry"]) == (ODD, "confirmed", "ada", True, 1)
    assert listed["quality"][0]["precision"]["estimate"] == 1.0
    assert document("why", path, ODD, "--near", 0)["record"]["verdicts"][0]["decision"] == "confirmed"
    rows = {row["id"]: row for row in document("flagged", path, "--batch", "odd")}
    assert rows[ODD]["verdict"] == "confirmed"
    assert "verdict" not in rows[CONSTRUED]
    table = {row["id"]: row for row in csv.DictReader(io.StringIO(said("flagged", path, "--format", "csv")))}
    assert (table[str(ODD)]["verdict"], table[str(CONSTRUED)]["verdict"]) == ("confirmed", "")
    drawn = document("verdicts", path, "--audit", "--batch", "odd")
    assert len(drawn["records"]) == 5
    runs = path.parents[1] / "runs"
    (version,) = document("models", "meters", "--runs", runs)
    assert version["verdicts"]["precision"]["decided"] == 1


def test_the_audit_lists_what_is_to_be_decided(path: Path) -> None:
    told = said("verdicts", path, "--audit", "--batch", "odd")
    assert "5 unflagged records, drawn at random; 5 to be decided" in told
    for row in document("verdicts", path, "--audit", "--batch", "odd")["records"]:
        answer = said("verdict", path, row["record_id"], "false-alarm", "--who", "ada")
        assert "not flagged, drawn at random" in answer
    assert "Missed, version 1: 0 % (0 to " in answer
    assert "0 to be decided" in said("verdicts", path, "--audit", "--batch", "odd")
    rows = list(csv.DictReader(io.StringIO(said("verdicts", path, "--audit", "--format", "csv"))))
    assert [row["verdict"] for row in rows if row["batch"] == "odd"] == ["false_alarm"] * 5


def test_notes_and_names_are_shown_as_text_and_never_obeyed(path: Path) -> None:
    decide(path, str(ODD), "confirmed", note=HOSTILE, who="@ada\x1b]0;x\x07")
    for answer in (
        said("verdicts", path),
        said("why", path, ODD, "--near", 0),
        run("verdict", path, ODD, "unsure").stderr,
    ):
        assert "\x1b" not in answer
        assert "\u202e" not in answer
        assert "[bold]" in answer
    (row,) = csv.DictReader(io.StringIO(said("verdicts", path, "--format", "csv")))
    assert row["note"].startswith("'=HYPERLINK")
    assert row["who"].startswith("'@ada")
    assert "\x1b" not in row["note"]
    assert document("verdicts", path)["verdicts"][0]["note"] == HOSTILE


def test_a_case_is_decided_at_once(path: Path) -> None:
    case = document("cases", path, "--batch", "odd")[0]
    told = said("verdict", path, case["id"], "confirmed", "--case", "--batch", "odd", "--who", "ada")
    assert f"Case {case['id']}: {case['size']} record" in told
    assert "confirmed, by ada (entries 1 to " in told
    assert "whatever the others are" in told
    assert len(document("verdicts", path)["verdicts"]) == case["size"]
    done = document("verdict", path, case["id"], "--case", "--undo", "--who", "ada")
    assert {entry["decision"] for entry in done["entries"]} == {None}
    assert "No verdict was given yet." in said("verdicts", path)


def test_with_enough_verdicts_models_shows_the_precision(path: Path) -> None:
    runs = path.parents[1] / "runs"
    assert "precision" not in said("models", "meters", "--runs", runs)
    for place, one in enumerate(flagged(path, top=20).records):
        decide(path, one.record_id, "false_alarm" if place < 5 else "confirmed", who="ada", batch=one.batch)
    told = said("models", "meters", "--runs", runs)
    assert "precision by verdicts" in told
    (version,) = document("models", "meters", "--runs", runs)
    share = version["verdicts"]["precision"]
    assert (share["decided"], share["anomalies"]) == (20, 15)
    assert f"{100 * share['estimate']:.0f} % (" in told
    assert "precision" not in said("models", "--runs", runs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([ODD], "confirmed, false-alarm or unsure"),
        ([ODD, "confirmed", "--undo"], "not both"),
        ([ODD, "--undo", "--version", "1"], "leave --version out"),
        ([ODD, "--undo"], "nothing to take back"),
        (["none", "--case", "confirmed", "--version", "1"], "leave --version out"),
        (["none", "--case", "confirmed"], "no case 'none'"),
        (["none", "--case", "--undo"], "nothing to take back"),
        ([REFUSED, "confirmed"], "was quarantined"),
        ([CONSTRUED, "confirmed", "--note", "x" * 10_001], "10,001 characters"),
        ([CONSTRUED, "confirmed", "--who", " "], "must say who"),
        ([CONSTRUED, "confirmed", "--seen", "4"], "no verdict yet"),
        (["31415926", "confirmed"], "4 batches were scored"),
    ],
)
def test_wrong_input_is_a_paragraph_on_standard_error(path: Path, arguments: list[object], words: str) -> None:
    result = run("verdict", path, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert result.stderr.startswith("flowguard: ")
    assert "Traceback" not in result.output
    assert "No verdict was given yet." in said("verdicts", path)
