from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.errors import RegistryError
from flowguard.registry.connection import import_mlflow
from flowguard.stages.score import detector_of, score
from flowguard.stages.version import version_report, write_version
from flowguard.stages.workspace import Workspace


def test_the_page_of_a_version_says_what_it_scored_and_links_to_pages_that_are_there(project: Path) -> None:
    score(project, batch="part0")
    page = write_version(project, "champion")
    assert page == project.parents[1] / "runs/meters/reports/version-1.html"
    text = page.read_text(encoding="utf-8")
    assert "part0" in text
    assert "batch-part0.html" not in text, "that page has not been written"
    (page.parent / "batch-part0.html").write_text("there")
    write_version(project, 1)
    assert '<a href="batch-part0.html" data-open>' in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1_000_000


def test_a_version_that_is_not_registered_is_refused(project: Path) -> None:
    with pytest.raises(RegistryError, match="has no version 7"):
        write_version(project, 7)


def test_the_registry_holds_the_page_beside_the_plots(project: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(project)
    (version,) = workspace.registry.versions("meters")
    folder = import_mlflow().artifacts.download_artifacts(
        artifact_uri=f"runs:/{version.run_id}/plots",
        dst_path=str(tmp_path),
        tracking_uri=workspace.registry.tracking_uri,
    )
    text = Path(folder, "version.html").read_text(encoding="utf-8")
    assert f"bundle {version.digest[:12]}" in text
    assert text.count("<svg") == 4


def test_a_version_knows_the_parameters_of_its_run(project: Path) -> None:
    (version,) = Workspace.open(project).registry.versions("meters")
    assert version.params["family"] == "maf"
    assert version.params["policy"] == "false alarm rate 1 %"


def test_groups_of_a_redacted_column_have_no_names_and_what_was_left_out_is_said(project: Path) -> None:
    workspace = Workspace.open(project)
    (version,) = workspace.registry.versions("meters")
    detector = detector_of(workspace, version)
    assert detector.calibration is not None
    changed = replace(
        detector,
        provenance={**detector.provenance, "excluded": {"records": {"train": 8, "calibration": 3}}},
    )
    said = version_report(workspace, changed, version)
    assert said.left_out == "11 records were left out, confirmed as anomalies: 8 train, 3 calibration."
    assert [one.name for one in said.cells] == ["all"]
    assert said.kept == detector.provenance["best_epochs"]
    grouped = replace(
        detector,
        redact=("site",),
        calibration=replace(
            detector.calibration,
            cells=replace(detector.calibration.cells, by=("site",), tree={"own": {}, "rest": "site=north"}),
        ),
    )
    assert [one.name for one in version_report(workspace, grouped, version).cells] == ["group 1"]


def test_the_command_writes_the_page_of_a_version(project: Path) -> None:
    run = CliRunner().invoke(app, ["report", str(project), "--version", "1", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["page"].endswith("version-1.html")
    refused = CliRunner().invoke(app, ["report", str(project), "--version", "1", "--batch", "part0"])
    assert refused.exit_code != 0
