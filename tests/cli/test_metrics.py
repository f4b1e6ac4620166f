"""`flowguard metrics`: told once as text, as JSON or as a file; options that mean nothing are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.cli.test_cli import flowguard_, refused
from tests.conftest import write_project


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


def test_once_prints_what_prometheus_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parents[1])
    result = flowguard_("metrics", "--once")
    assert result.exit_code == 0, result.output
    families = {one.name: one for one in parsed(result.stdout)}
    assert [one.value for one in families["flowguard_batches_waiting"].samples] == [3]


def test_json_has_the_same_samples(path: Path) -> None:
    result = flowguard_("metrics", path, "--once", "--json")
    samples = json.loads(result.stdout)["samples"]
    assert {"name": "flowguard_batches_waiting", "labels": {"pipeline": "meters"}, "value": 3.0} in samples


def test_a_textfile_is_written_and_said(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "flowguard.prom"
    result = flowguard_("metrics", path, "--textfile", target)
    assert result.exit_code == 0, result.output
    count = len([line for line in target.read_text().splitlines() if not line.startswith("#")])
    assert result.stdout.strip() == f"Wrote {count} samples to {target}."


def test_options_that_mean_nothing_together_are_refused(path: Path, tmp_path: Path) -> None:
    assert "give one of them" in refused("metrics", path, "--once", "--textfile", tmp_path / "a.prom")
    assert "--host and --port say where to serve" in refused("metrics", path, "--once", "--host", "::1", "--port", "1")
    assert "does not end in .prom" in refused("metrics", path, "--textfile", tmp_path / "a.txt")
    assert list(tmp_path.glob("a.*")) == []


def test_without_a_pipeline_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path / 'pipelines'} holds no *.yaml" in refused("metrics", "--once")
