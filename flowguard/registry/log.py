"""One run in MLflow: what a version was trained with and how it went, then the version itself."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flowguard
from flowguard.registry import signature
from flowguard.registry.connection import told
from flowguard.registry.model import check_signature, write_model

if TYPE_CHECKING:
    from flowguard.registry.registry import Registry


@dataclass(frozen=True)
class Entry:
    """What is logged; see `Registry.log_version`."""

    bundle: Path
    digest: str
    name: str
    inputs: Mapping[str, str]
    key: Sequence[str]
    params: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, float]
    plots: Mapping[str, Any]
    tags: Mapping[str, Any]
    example: Any


def log_run(registry: Registry, client: Any, entry: Entry) -> int:
    """Log `entry` as a run, register its model as a version and return the version's number.

    The client's own methods are used, not `mlflow.log_*`: those keep the address, the experiment and the run
    in variables (and environment variables) of the process, where other threads and later registries would
    find them.
    """
    tags = {
        "pipeline": entry.name,
        **{key: str(value) for key, value in entry.tags.items() if value is not None},
        "digest": entry.digest,
        "flowguard_version": flowguard.__version__,
        **({"git_commit": commit} if (commit := _git_commit()) else {}),
    }
    with told(registry.tracking_uri, "written to"):
        experiment = _experiment(registry, client, entry.name)
        run = client.create_run(
            experiment,
            run_name=f"{entry.name} {entry.digest[:8]}",
            tags={**tags, "mlflow.source.name": "flowguard train", "mlflow.source.type": "LOCAL"},
        )
        run_id = run.info.run_id
        try:
            model = _log(registry, client, entry, experiment, run_id, tags)
        except BaseException:
            with suppress(Exception):
                client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id, "FINISHED")
    with told(registry.registry_uri, "written to"):
        return _register(client, entry, model, run_id, tags)


def _experiment(registry: Registry, client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        root = registry.artifact_root
        if root is not None:
            # A folder must be absolute: MLflow would take a relative one from wherever it runs later.
            root = str(root) if "://" in str(root) else Path(root).absolute().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=f"{root}/{name}" if root else None))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another run was first
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _log(registry: Registry, client: Any, entry: Entry, experiment: str, run_id: str, tags: Mapping[str, str]) -> Any:
    from mlflow.entities import LoggedModelOutput, Param

    params = dict(_flat(entry.params))
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
    with tempfile.TemporaryDirectory() as temporary:
        if entry.plots:
            plots = _write_plots(entry.plots, Path(temporary, "plots"))
            client.log_artifacts(run_id, str(plots), "plots")
        model = client.create_logged_model(
            experiment,
            name=re.sub(r"[/:.%\"']", "-", entry.name),
            source_run_id=run_id,
            tags=dict(tags),
            params=params,
            model_type="flowguard",
        )
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        folder = write_model(entry, model, run_id, Path(temporary))
        client.log_model_artifacts(model.model_id, str(folder))
    check_signature(registry, model)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_batch(run_id, metrics=list(_metrics(entry, model, run_id)))
    return model


def _metrics(entry: Entry, model: Any, run_id: str) -> Iterator[Any]:
    """Every number of the run at once: one request for each would take minutes against a distant server."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    for place, epoch in enumerate(entry.history, start=1):
        step = int(epoch.get("epoch", place))
        for key, value in epoch.items():
            if key != "epoch" and isinstance(value, int | float):
                yield Metric(_name(key), float(value), now, step)
    for key, value in entry.metrics.items():
        yield Metric(_name(key), float(value), now, 0, model_id=model.model_id, run_id=run_id)


def _write_plots(plots: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir()
    for name, plot in plots.items():
        if isinstance(plot, bytes):
            (folder / name).write_bytes(plot)
        elif isinstance(plot, str):
            (folder / name).write_text(plot, encoding="utf-8")
        else:
            plot.savefig(folder / name)
    return folder


def _register(client: Any, entry: Entry, model: Any, run_id: str, tags: Mapping[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(entry.name, tags={"pipeline": entry.name})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        entry.name,
        # Not `models:/ID`: a database would look that up at the address that the process happens to have set.
        source=model.artifact_location,
        run_id=run_id,
        model_id=model.model_id,
        tags=dict(tags),
        description=signature.description(entry.inputs, key=entry.key),
    )
    # This is how MLflow's page of the model finds its version.
    link = [{"name": entry.name, "version": version.version}]
    client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": json.dumps(link)})
    return int(version.version)


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        name = f"{prefix}{_name(str(key))}"
        if isinstance(value, Mapping):
            yield from _flat(value, prefix=f"{name}.")
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, default=str)


def _name(key: str) -> str:
    """`key` with the characters that MLflow refuses replaced.

    >>> _name("delay (min)")
    'delay _min_'
    """
    return re.sub(r"[^\w\-. ]", "_", key)


def _git_commit() -> str | None:
    """The commit of the project in the current folder, if it is one."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "rev-parse", "--verify", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return found.stdout.strip() or None
    return None
