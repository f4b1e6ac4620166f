"""Old versions go with all that is theirs, unless something refers to them."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flowguard.errors import RegistryError
from flowguard.registry import Version
from flowguard.stages.drift import drift
from flowguard.stages.enqueue import enqueue
from flowguard.stages.flagged import flagged
from flowguard.stages.manifest import latest
from flowguard.stages.models import models, promote
from flowguard.stages.prune import Pruned, prune
from flowguard.stages.prune.found import Asked
from flowguard.stages.prune.versions import old_versions
from flowguard.stages.recalibrate import recalibrate
from flowguard.stages.score import bundles, detector_of, score
from flowguard.stages.train import train
from flowguard.stages.verdicts import decide
from flowguard.stages.workspace import Workspace
from tests.conftest import PIPELINE, write_project
from tests.stages.test_prune import gone, killed, later, stays
from tests.stages.test_score import folder_of

_RATES = itertools.count(20)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own, whose registry holds what it removes. Tests add to it: each looks at its own versions."""
    path = write_project(tmp_path_factory.mktemp("versions") / "project")
    train(path)
    return path


def keeping(path: Path, retention: str, rate: float = 0.01) -> Path:
    path.write_text(PIPELINE.replace("0.01}", f"{rate}}}") + f"retention: {retention}\n")
    return path


def another(path: Path, of: int = 1) -> Version:
    """A new version: that one with another threshold, which is quickly made."""
    keeping(path, "{versions: 1}", next(_RATES) / 1000)
    version = recalibrate(path, version=of).registered.version
    keeping(path, "{versions: 1}")
    return version


def there(path: Path) -> set[int]:
    return {one.version for one in models(path.parents[1] / "runs", "meters")}


def client(path: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=Workspace.open(path).registry.tracking_uri)


def files_of(path: Path, version: Version) -> list[Path]:
    """What a version has in the artifacts' folder."""
    found = client(path).get_run(version.run_id)
    models = [one.model_id for one in found.outputs.model_outputs]
    everything = (path.parents[1] / "runs/mlartifacts").rglob("*")
    return [one for one in everything if one.is_file() and ({version.run_id, *models} & set(one.parts))]


def test_a_version_goes_with_its_run_files_drift_and_fetched_copy(path: Path) -> None:
    version, newest = another(path), another(path)
    workspace = Workspace.open(path)
    score(path, batch="part0", version=version.version)
    copy = bundles(workspace) / version.digest
    assert copy.is_dir()
    assert workspace.store.drift.observed("meters").keys() >= {version.version}
    files, kept = files_of(path, version), files_of(path, newest)
    assert len(files) > 15
    size = sum(one.stat().st_size for one in files)
    keeping(path, "{versions: 1, scores: 400}")
    now = later()
    told = prune(path, dry_run=True, now=now)
    assert there(path) >= {1, version.version, newest.version}
    (row,) = (one for one in told.removed if one.version == version.version and one.kind == "version")
    assert (row.files, row.bytes, row.why) == (len(files), size, "retention.versions: 1")
    assert (copy.name[:12]) in gone(told, "bundle")
    done = prune(path, now=now)
    assert (done.removed, done.stays) == (told.removed, told.stays)
    assert there(path) == {1, newest.version}
    assert not any(one.exists() for one in files)
    assert all(one.exists() for one in kept)
    assert not copy.exists()
    assert version.version not in workspace.store.drift.observed("meters")
    assert client(path).get_run(version.run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(RegistryError, match=f"no version {version.version}"):
        drift(path, version=version.version)
    manifest = latest(folder_of(path))["part0"]
    assert (manifest.version, manifest.was_pruned("scores")) == (version.version, True), "it tells who scored it"
    assert prune(path, now=now).removed == ()
    # The champion reads another version's batch, and it was pruned with this content.
    os.utime(path.parents[1] / "data/part0.parquet")
    (result,) = (one for one in score(path) if one.manifest.batch == "part0")
    assert (result.fresh, result.manifest.version) == (False, version.version)
    workspace.registry.resolve("meters", newest.version)
    assert detector_of(workspace, newest).digest == newest.digest


def test_each_reference_keeps_its_version(path: Path) -> None:
    by_batch, judged, queued, parent, free, named, before = (another(path) for _ in range(7))
    client(path).set_registered_model_alias("meters", "fallback", str(named.version))
    runs = path.parents[1] / "runs"
    promote(runs, "meters", before.version, who="ada")
    promote(runs, "meters", 1, who="ada", why="back")
    for version in (judged, queued, by_batch):
        score(path, batch="part1", version=version.version, force=True)
        if version is judged:
            one = flagged(path, batch="part1", top=1).records[0]
            decide(path, one.record_id, "confirmed", who="ada", version=judged.version, batch="part1")
        if version is queued:
            enqueue(path, batches=["part1"])
            shutil.rmtree(folder_of(path) / f"manifests/batch=part1/version={queued.version}.json", ignore_errors=True)
            (folder_of(path) / f"manifests/batch=part1/version={queued.version}.json").unlink()
    child = another(path, of=parent.version)
    last = another(path)
    keeping(path, "{versions: 2}")
    done = prune(path)
    assert stays(done, "version") == {
        "version 1": "champion",
        f"version {by_batch.version}": "scored batches name it",
        f"version {judged.version}": "a verdict was given on its word",
        f"version {queued.version}": "the queue shows what it said",
        f"version {parent.version}": f"version {child.version} was recalibrated from it",
        f"version {named.version}": "fallback",
        f"version {before.version}": "the champion before the present one, to go back to",
    }
    assert f"version {free.version}" in gone(done, "version")
    assert there(path) >= {child.version, last.version}
    assert free.version not in there(path)
    # Once nothing refers to them, they go, the challenger does not.
    keeping(path, "{versions: 1, scores: 400, review: 400}")
    client(path).delete_registered_model_alias("meters", "fallback")
    done = prune(path, now=later())
    assert {f"version {one.version}" for one in (by_batch, queued, named, parent, child)} <= {*gone(done, "version")}
    assert there(path) == {1, judged.version, before.version, last.version}


def test_a_version_that_is_promoted_or_used_after_it_was_found_stays(path: Path) -> None:
    first, second, third, _ = (another(path) for _ in range(4))
    workspace = Workspace.open(path)
    asked = Asked(workspace, later(), ())
    steps = {step.going.version: step for step in old_versions(asked, scores=(), queue=()).steps}
    client(path).set_registered_model_alias("meters", "fallback", str(first.version))
    score(path, batch="part2", version=second.version, force=True)
    workspace.store.aliases.record(
        "meters", "champion", expected_from=1, to=third.version, who="ada", why="a promotion that goes on just now"
    )
    assert [steps[one.version].take() for one in (first, second, third)] == [False, False, False]
    assert there(path) >= {first.version, second.version, third.version}
    workspace.store.aliases.record("meters", "champion", expected_from=third.version, to=1, who="ada", why="back")
    client(path).delete_registered_model_alias("meters", "fallback")


@pytest.mark.e2e
@pytest.mark.parametrize(
    "code",
    [
        "from flowguard.registry import remove\nremove.remove_run = lambda *given: os.kill(os.getpid(), 9)",
        "from mlflow import MlflowClient\nMlflowClient.delete_run = lambda *given: os.kill(os.getpid(), 9)",
        "from flowguard.registry import Registry\nRegistry.remove = lambda *given: os.kill(os.getpid(), 9)",
    ],
    ids=["the version is gone", "its files are gone", "nothing is gone"],
)
def test_a_removal_that_was_killed_is_gone_on_with(path: Path, code: str) -> None:
    keeping(path, "{versions: 1, scores: 400, review: 400}")
    another(path)
    prune(path, now=later())
    version = models(path.parents[1] / "runs", "meters")[0]
    another(path)
    files = files_of(path, version)
    training = client(path).create_run(client(path).get_experiment_by_name("meters").experiment_id)
    killed(path, code)
    done = prune(path, now=later())
    assert gone(done, "leftover") + gone(done, "version") in (
        [f"the run of version {version.version}"],
        [f"version {version.version}"],
    )
    assert version.version not in there(path)
    assert not any(one.exists() for one in files)
    assert client(path).get_run(version.run_id).info.lifecycle_stage == "deleted"
    assert client(path).get_run(training.info.run_id).info.lifecycle_stage == "active", "it may be at work"
    assert prune(path, now=later()).removed == ()


def test_files_outside_of_the_registrys_folder_are_not_removed(path: Path, tmp_path: Path) -> None:
    """A copied project names the artifacts of the one it was copied from."""
    version, _ = another(path), another(path)
    files = files_of(path, version)
    shutil.copytree(path.parents[1], tmp_path / "copy")
    copied = keeping(tmp_path / "copy/pipelines/meters.yaml", "{versions: 1, scores: 400, review: 400}")
    done: Pruned = prune(copied, now=later())
    assert gone(done, "version") == []
    assert stays(done, "version")[f"version {version.version}"] == "its files lie outside of the registry's own folder"
    assert files
    assert all(one.exists() for one in files)
