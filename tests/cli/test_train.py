"""`flowguard train`, `recalibrate` and `models` tell which confirmed anomalies a version is without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.stages.flagged import flagged
from flowguard.stages.score import score
from flowguard.stages.verdicts import decide


def said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.e2e
def test_what_was_left_out_is_told_with_what_it_would_cost_if_it_was_ordinary(project: Path) -> None:
    score(project)
    for one in flagged(project, top=12).records:
        decide(project, one.record_id, "confirmed", who="ada", batch=one.batch)
    told = said("train", project)
    assert "Left out: 12 records confirmed as anomalies (" in told
    assert "), by verdicts up to entry 12, ids " in told
    assert "of them that would have calibrated were ordinary after all, up to " in told
    assert "% of ordinary records would be flagged instead of 1 %." in told
    again = said("train", project)
    assert "Left out: 12 records" in again
    assert "were trained" not in again
    assert "was trained from these records and settings before" in again
    runs = project.parents[1] / "runs"
    assert "Version 2 of meters is without 12 records confirmed as anomalies (" in said(
        "models", "meters", "--runs", runs
    )
    assert "Left out: " in said("recalibrate", project)
    made = json.loads(said("train", project, "--json"), parse_constant=lambda name: pytest.fail(name))
    assert made["dealt"]["excluded"]["ids"] == 12
