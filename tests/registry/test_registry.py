from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from flowguard.detector import digest
from flowguard.errors import BundleError, FlowguardError, RegistryError
from flowguard.registry import Registry, Version

Sealed = Callable[[str], Path]
INPUTS = {"air_time": "double", "origin": "string"}


def test_importing_the_registry_does_not_import_mlflow() -> None:
    code = "import sys, flowguard.registry; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_first_version_becomes_champion_and_later_ones_challenger(registry: Registry, sealed: Sealed) -> None:
    first, second, third = (registry.log_version(sealed(c), name="aliases", inputs=INPUTS) for c in "abc")
    assert (first.version, first.aliases) == (1, ("champion",))
    assert (second.version, second.aliases) == (2, ("challenger",))
    assert (third.version, third.aliases) == (3, ("challenger",))
    assert [v.aliases for v in registry.versions("aliases")] == [("challenger",), (), ("champion",)]


def test_a_version_knows_its_bundle_run_tags_and_metrics(registry: Registry, sealed: Sealed) -> None:
    before = datetime.now(UTC)
    bundle = sealed("facts")
    version = registry.log_version(
        bundle,
        name="facts",
        inputs=INPUTS,
        metrics={"holdout": 0.012},
        tags={"measure_id": "m1", "absent": None},
    )
    assert version.digest == digest(bundle)
    assert version.metrics == {"holdout": 0.012}
    assert version.tags["measure_id"] == "m1"
    assert version.tags["pipeline"] == "facts"
    assert {"digest", "flowguard_version"} <= set(version.tags)
    assert "absent" not in version.tags
    assert -5 < (version.created - before).total_seconds() < 60
    assert version == registry.resolve("facts") == registry.resolve("facts", 1) == registry.resolve("facts", "1")
    assert version == registry.find("facts", version.digest)
    assert version in registry.versions()


def test_parameters_epochs_and_plots_reach_the_run(registry: Registry, sealed: Sealed) -> None:
    history = [{"epoch": e, "train_nll": 3.0 / e, "validation_nll": 4.0 / e, "note": "x"} for e in (1, 2, 3)]
    figure = Figure()
    figure.subplots().plot([1, 2])
    version = registry.log_version(
        sealed("run"),
        name="run",
        inputs=INPUTS,
        params={"family": "maf", "hidden": [64, 64], "split": {"unit (day)": None}},
        history=history,
        plots={"figure.svg": figure, "bytes.png": b"\x89PNG", "page.html": "<p>"},
    )
    client = registry._client
    run = client.get_run(version.run_id)
    assert run.data.params == {"family": "maf", "hidden": "[64, 64]", "split.unit _day_": "null"}
    assert run.info.status == "FINISHED"
    curve = client.get_metric_history(version.run_id, "validation_nll")
    assert [(point.step, point.value) for point in curve] == [(1, 4.0), (2, 2.0), (3, 4.0 / 3)]
    assert "note" not in run.data.metrics
    plots = Path(client.download_artifacts(version.run_id, "plots"))
    assert sorted(path.name for path in plots.iterdir()) == ["bytes.png", "figure.svg", "page.html"]
    assert "<svg" in (plots / "figure.svg").read_text()


def test_all_numbers_of_a_run_travel_in_one_request(
    registry: Registry, sealed: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    log_batch = registry._client.log_batch

    def counting(run_id: str, *, metrics: tuple[object, ...] = (), **others: object) -> None:
        calls.append(len(metrics))
        log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr(registry._client, "log_batch", counting)
    history = [{"epoch": e, "train_nll": 1.0, "validation_nll": 1.0, "seconds": 0.1} for e in range(1, 101)]
    registry.log_version(sealed("batch"), name="batch", inputs=INPUTS, history=history, metrics={"holdout": 1.0})
    assert [count for count in calls if count] == [301]


def test_a_bundle_that_is_registered_is_not_registered_again(registry: Registry, sealed: Sealed) -> None:
    registry.log_version(sealed("one"), name="again", inputs=INPUTS)
    second = registry.log_version(sealed("two"), name="again", inputs=INPUTS)
    assert registry.log_version(sealed("two"), name="again", inputs=INPUTS) == second
    assert len(registry.versions("again")) == 2


def test_a_version_that_was_left_without_its_alias_gets_it_when_it_is_logged_again(
    registry: Registry, sealed: Sealed
) -> None:
    for content in "ab":
        registry.log_version(sealed(content), name="killed", inputs=INPUTS)
    registry._client.delete_registered_model_alias("killed", "champion")
    registry._client.delete_registered_model_alias("killed", "challenger")
    assert registry.log_version(sealed("b"), name="killed", inputs=INPUTS).aliases == ("challenger",)
    assert registry.log_version(sealed("a"), name="killed", inputs=INPUTS).aliases == ("champion",)


def test_of_trainings_at_once_the_first_becomes_champion(registry: Registry, sealed: Sealed) -> None:
    bundles = [sealed(content) for content in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda bundle: registry.log_version(bundle, name="at once", inputs=INPUTS), bundles))
    versions = registry.versions("at once")
    assert [version.version for version in versions] == [4, 3, 2, 1]
    assert versions[-1].aliases == ("champion",)
    assert versions[0].aliases == ("challenger",)


def test_a_run_that_fails_is_marked_so_and_registers_nothing(registry: Registry, sealed: Sealed) -> None:
    with pytest.raises(FlowguardError, match="could not be written to"):
        registry.log_version(sealed("failing"), name="failing", inputs=INPUTS, plots={"no/such/folder.svg": "x"})
    assert registry.versions("failing") == []
    experiment = registry._client.get_experiment_by_name("failing")
    (run,) = registry._client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"


def test_nothing_of_one_registry_stays_in_the_process(registry: Registry, sealed: Sealed) -> None:
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri()
    registry.log_version(sealed("globals"), name="globals", inputs=INPUTS)
    assert (os.environ.get("MLFLOW_TRACKING_URI"), mlflow.get_tracking_uri()) == before
    assert mlflow.active_run() is None


def test_values_of_redacted_columns_are_not_in_the_example(registry: Registry, sealed: Sealed) -> None:
    example = pd.DataFrame({"air_time": [65.0], "origin": ["a secret"]})
    version = registry.log_version(sealed("example"), name="example", inputs=INPUTS, example=example, redact=["origin"])
    stored = registry._client.get_model_version_download_uri("example", str(version.version))
    model = Path(stored.removeprefix("file://").replace("%20", " "))
    assert "65.0" in (model / "input_example.json").read_text()
    assert not [path for path in model.rglob("*") if path.is_file() and b"a secret" in path.read_bytes()]


def test_promoting_moves_the_alias_and_tells_who_was_champion(registry: Registry, sealed: Sealed) -> None:
    for content in "ab":
        registry.log_version(sealed(content), name="promote", inputs=INPUTS)
    assert registry.promote("promote", 2) == 1
    assert registry.resolve("promote").version == 2
    assert [v.aliases for v in registry.versions("promote")] == [("champion",), ()]
    assert registry.promote("promote", 2) == 2
    assert registry.promote("promote", 1) == 2  # a rollback
    with pytest.raises(RegistryError, match="no version 7"):
        registry.promote("promote", 7)
    assert registry.resolve("promote").version == 1


def test_an_alias_of_ones_own_can_be_set_and_resolved(registry: Registry, sealed: Sealed) -> None:
    registry.log_version(sealed("own"), name="own", inputs=INPUTS)
    assert registry.set_alias("own", "shadow", 1).aliases == ("champion", "shadow")
    assert registry.resolve("own", "shadow").version == 1


def test_what_is_not_there_is_told_with_what_is_and_what_to_run(registry: Registry, sealed: Sealed) -> None:
    for content in "ab":
        registry.log_version(sealed(content), name="known", inputs=INPUTS)
    with pytest.raises(RegistryError, match=r"no model named unknown .*known.*`flowguard train FILE`") as error:
        registry.resolve("unknown")
    assert error.value.exit_code == 2
    with pytest.raises(RegistryError, match=r"no version 9. It has 2 \(challenger\); 1 \(champion\)"):
        registry.resolve("known", 9)
    with pytest.raises(RegistryError, match=r"is its shadow.*`flowguard promote known VERSION`"):
        registry.resolve("known", "shadow")
    with pytest.raises(RegistryError, match="cannot name a model"):
        registry.log_version(sealed("a"), name="a/b", inputs=INPUTS)


def test_models_that_flowguard_did_not_make_are_left_alone(registry: Registry) -> None:
    assert registry.versions("nobody") == []
    registry._client.create_registered_model("foreign")
    registry._client.create_model_version("foreign", source="file:///nowhere")
    assert "foreign" not in {version.name for version in registry.versions()}
    with pytest.raises(RegistryError, match="no model named foreign"):
        registry.resolve("foreign", 1)


def test_a_fetched_bundle_is_the_one_that_was_logged(registry: Registry, sealed: Sealed, tmp_path: Path) -> None:
    bundle = sealed("fetch")
    version = registry.log_version(bundle, name="fetch", inputs=INPUTS)
    cache = tmp_path / "cache"
    folder = registry.fetch(version, cache)
    assert folder.name == version.digest
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in bundle.iterdir()}
    marker = folder.stat().st_mtime_ns
    assert registry.fetch(version, cache) == folder
    assert folder.stat().st_mtime_ns == marker  # not downloaded again
    assert [path.name for path in cache.iterdir()] == [version.digest]


def test_a_damaged_copy_in_the_cache_is_fetched_again(registry: Registry, sealed: Sealed, tmp_path: Path) -> None:
    version = registry.log_version(sealed("damage"), name="damage", inputs=INPUTS)
    folder = registry.fetch(version, tmp_path / "cache")
    (folder / "manifest.json").write_text("{}")
    assert digest(registry.fetch(version, tmp_path / "cache")) == version.digest
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [version.digest]


def test_another_bundle_in_the_place_of_the_registered_one_is_refused(
    registry: Registry, sealed: Sealed, tmp_path: Path
) -> None:
    version = registry.log_version(sealed("swap"), name="swap", inputs=INPUTS)
    other = Version("swap", 1, version.run_id, (), "0" * 64, version.created)
    with pytest.raises(BundleError, match="not the one registered"):
        registry.fetch(other, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_reading_a_registry_that_does_not_exist_creates_nothing(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert registry.versions() == []
    with pytest.raises(RegistryError, match=r"holds no model yet. Train one with `flowguard train FILE`"):
        registry.resolve("flights")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_the_registry_and_else_the_folder_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    here = Registry.at(tmp_path)
    assert here.tracking_uri == here.registry_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert here.artifact_root == tmp_path / "mlartifacts"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert Registry.at(tmp_path).registry_uri == "http://mlflow:5000"
    assert Registry.at(tmp_path).artifact_root is None
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://registry:5000")
    assert Registry.at(tmp_path).registry_uri == "http://registry:5000"


def test_what_becomes_known_later_is_added_to_a_version(registry: Registry, sealed: Sealed) -> None:
    version = registry.log_version(sealed("noted"), name="noted", inputs={"x": "double"}, metrics={"first": 1.0})
    registry.note(version, metrics={"later": 0.5}, step=20, tags={"judged": "0.5, 20 decided", "never": None})
    found = registry.resolve("noted", 1)
    assert (found.metrics["first"], found.metrics["later"], found.tags["judged"]) == (1.0, 0.5, "0.5, 20 decided")
    registry.note(found, metrics={"later": 0.25}, step=21, tags={"judged": None})
    last = registry.resolve("noted", 1)
    assert (last.metrics["later"], "judged" in last.tags) == (0.25, False)
    assert last.digest == version.digest
