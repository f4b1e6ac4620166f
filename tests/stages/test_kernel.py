"""A pipeline whose model keeps records as the centres of kernel densities, from training to reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.detector import Detector
from flowguard.errors import PipelineError
from flowguard.spec import load_pipeline
from flowguard.stages.flagged import flagged
from flowguard.stages.meaning import architecture_of
from flowguard.stages.report import report
from flowguard.stages.score import ScoredBatch, detector_of, score
from flowguard.stages.train import train
from flowguard.stages.workspace import Workspace
from tests.conftest import PIPELINE, meters, write_project

pytestmark = pytest.mark.e2e  # trainings of whole pipelines

KERNEL = PIPELINE.replace("model: {layers", "model: {kernel: 200, layers")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ScoredBatch]]:
    path = write_project(tmp_path_factory.mktemp("kernel") / "project", KERNEL)
    train(path)
    odd = meters(300, 9)
    power = odd["power"].to_numpy(zero_copy_only=False).copy()
    power[7] = 400.0
    odd = odd.set_column(odd.column_names.index("power"), "power", pa.array(power))
    pq.write_table(odd, path.parents[1] / "data/odd.parquet")
    return path, score(path)


@pytest.fixture(scope="module")
def detector(scored: tuple[Path, list[ScoredBatch]]) -> Detector:
    workspace = Workspace.open(scored[0])
    return detector_of(workspace, workspace.registry.resolve("meters"))


def test_every_manifest_says_that_experts_were_asked(scored: tuple[Path, list[ScoredBatch]]) -> None:
    manifests = [result.manifest for result in scored[1]]
    assert len(manifests) == 4
    assert {manifest.score for manifest in manifests} == {"experts"}
    assert [manifest.quarantined_total for manifest in manifests] == [0] * 4
    # Of 3,000 ordinary records about 30 are flagged by chance.
    assert sum(manifest.flagged for manifest in manifests if manifest.batch != "odd") < 90


def test_the_version_holds_as_many_records_as_asked_for_and_no_more(detector: Detector) -> None:
    assert detector.density.experts is not None
    assert [kernel.centres for kernel in detector.density.experts.every_kernel()] == [200, 200]


def test_what_is_odd_is_flagged_and_its_reason_is_told_exactly(
    scored: tuple[Path, list[ScoredBatch]], detector: Detector
) -> None:
    path, _ = scored
    found = flagged(path, batch="odd", top=None).records
    strangest = max(found, key=lambda record: record.score)
    assert strangest.key["id"] == 9_000_007
    assert strangest.reasons[0].column == "power"
    batch = pq.read_table(path.parents[1] / "data/odd.parquet").combine_chunks().to_batches()[0]
    here = detector.score(batch)
    assert here.score[7] == strangest.score == here.score.max(), "the same bits, from the pipeline and in memory"
    whole = detector.evaluate(detector.encode(batch), by_column=True)
    assert whole.terms is not None
    assert np.abs(whole.terms.sum(axis=1) + whole.log_likelihood).max() < 1e-9


def test_scoring_again_finds_nothing_to_do_and_the_pages_are_made(scored: tuple[Path, list[ScoredBatch]]) -> None:
    path, _ = scored
    assert score(path) == []
    assert report(path).run.exists()


def test_without_a_kernel_no_record_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "meters.yaml"
    path.write_text(PIPELINE)
    assert "kernel" not in architecture_of(load_pipeline(path))


@pytest.mark.parametrize("given", ["-1", "1", "100001", "many"])
def test_so_many_records_cannot_be_kept(tmp_path: Path, given: str) -> None:
    path = tmp_path / "meters.yaml"
    path.write_text(PIPELINE.replace("model: {layers", f"model: {{kernel: {given}, layers"))
    with pytest.raises(PipelineError, match=r"model\.kernel"):
        load_pipeline(path)
