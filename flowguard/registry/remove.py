"""Remove a version from MLflow: the version first, then what its run left; a killed removal is gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from flowguard.registry.connection import import_mlflow, told
from flowguard.registry.version import Version

if TYPE_CHECKING:
    from flowguard.registry.registry import Registry

REMOVED = "flowguard.removed"
"""The tag of a run whose version is being removed, with the version's number."""


def remove_version(registry: Registry, client: Any, version: Version) -> None:
    """Mark its run, delete the version, then the run with all files of both; MLflow removes its aliases, too.

    A run without a version may be a training at work, so that only marked ones are ever removed.
    """
    with told(registry.tracking_uri, "written to"):
        client.set_tag(version.run_id, REMOVED, str(version.version))
    with told(registry.registry_uri, "written to"):
        client.delete_model_version(version.name, str(version.version))
    remove_run(registry, client, version.run_id)


def begun_removals(registry: Registry, client: Any, name: str) -> dict[str, str]:
    """The marked runs of the model that are still there, with the versions' numbers."""
    with told(registry.tracking_uri, "read"):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return {}
        found = client.search_runs([experiment.experiment_id], filter_string=f"tags.`{REMOVED}` LIKE '%'")
        return {run.info.run_id: run.data.tags[REMOVED] for run in found}


def remove_run(registry: Registry, client: Any, run_id: str) -> None:
    """Delete a run with its files and the models that it logged; each file before what names it."""
    with told(registry.tracking_uri, "written to"):
        for model in _models(client, run_id):
            _artifacts(registry, model.artifact_location).delete_artifacts()
            client.delete_logged_model(model.model_id)
        _artifacts(registry, client.get_run(run_id).info.artifact_uri).delete_artifacts()
        client.delete_run(run_id)


def size_of_run(registry: Registry, client: Any, run_id: str) -> tuple[int, int]:
    """How many files a run and the models that it logged have, and their bytes."""
    with told(registry.tracking_uri, "read"):
        sizes = list(_sizes(lambda path: client.list_artifacts(run_id, path)))
        for model in _models(client, run_id):
            sizes += _sizes(lambda path, of=model.model_id: client.list_logged_model_artifacts(of, path))  # type: ignore[misc]
    return len(sizes), sum(sizes)


def holds_run(registry: Registry, client: Any, run_id: str) -> bool:
    """Whether the files of a run lie in the registry's own folder, where it has one.

    A copied database names the folders of the registry it was copied from, and these are not its to remove.
    """
    root = registry.artifact_root
    if root is None or "://" in str(root):
        return True
    with told(registry.tracking_uri, "read"):
        uris = [client.get_run(run_id).info.artifact_uri, *(one.artifact_location for one in _models(client, run_id))]
    paths = [Path(url2pathname(urlsplit(uri).path)) for uri in uris if urlsplit(uri).scheme in ("", "file")]
    return all(path.resolve().is_relative_to(Path(root).resolve()) for path in paths)


def _models(client: Any, run_id: str) -> Iterator[Any]:
    """The models that a run logged and that are still there."""
    from mlflow.exceptions import MlflowException

    outputs = client.get_run(run_id).outputs
    for output in outputs.model_outputs if outputs else ():
        try:
            yield client.get_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise


def _sizes(listed: Callable[[str | None], Any], path: str | None = None) -> Iterator[int]:
    for entry in listed(path):
        if entry.is_dir:
            yield from _sizes(listed, entry.path)
        else:
            yield int(entry.file_size or 0)


def _artifacts(registry: Registry, uri: str) -> Any:
    import_mlflow()
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(uri, tracking_uri=registry.tracking_uri, registry_uri=registry.registry_uri)
