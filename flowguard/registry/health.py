"""How a registry is: whether somebody answers, which MLflow, and whether files can be written where models go."""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version as installed
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from flowguard.errors import FlowguardError
from flowguard.registry.connection import import_mlflow, probe, shown, sqlite_path, told
from flowguard.registry.registry import Registry

WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """What answers at a registry's address.

    `server` is the version of an MLflow server and `skew` by how many seconds its clock is ahead, both None for a
    database; `made` is False for a SQLite file that the first training will make.
    """

    address: str
    server: str | None
    client: str
    skew: float | None
    made: bool


def answer(registry: Registry) -> Answer:
    """Ask the registry's addresses; raises `FlowguardError` when one does not answer, with the remedy."""
    for uri in dict.fromkeys((registry.tracking_uri, registry.registry_uri)):
        probe(uri)
    path = sqlite_path(registry.registry_uri)
    server = skew = None
    if registry.tracking_uri.startswith("http"):
        server, skew = _server(registry.tracking_uri)
    made = path is None or path.exists()
    return Answer(shown(registry.registry_uri), server, installed("mlflow"), skew, made)


def skew_of(response: httpx.Response) -> float | None:
    """By how many seconds the clock of who answered is ahead of ours, to a second; None where it does not say."""
    try:
        theirs = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return None
    # The header has whole seconds, rounded down.
    return round((theirs - datetime.now(UTC)).total_seconds() + 0.5)


def try_artifacts(registry: Registry, name: str) -> str | None:
    """Write a small file where the model `name` keeps its files, and remove it; returns where that is.

    None where an MLflow server decides that with the first training. Raises `FlowguardError` with the remedy.
    """
    location = _location(registry, name)
    if location is None:
        return None
    local = _local(location)
    if local is not None:
        _try_folder(local)
        return str(local)
    mlflow = import_mlflow()
    repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(
        location, tracking_uri=registry.tracking_uri, registry_uri=registry.registry_uri
    )
    with told(registry.tracking_uri, f"given files (its artifacts go to {shown(location)})"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"flowguard-doctor-{uuid.uuid4().hex}.txt")
            file.write_text("Written and removed by flowguard doctor.\n", encoding="utf-8")
            repository.log_artifact(str(file))
        repository.delete_artifacts(file.name)
    return shown(location)


def _server(uri: str) -> tuple[str | None, float | None]:
    try:
        response = httpx.get(f"{uri.rstrip('/')}/version", timeout=WAIT_SECONDS)
    except httpx.HTTPError:
        return None, None  # MLflow has settings of its own for certificates and proxies
    text = response.text.strip()
    return text if response.is_success and text[:1].isdigit() and len(text) < 40 else None, skew_of(response)


def _location(registry: Registry, name: str) -> str | None:
    if registry._exists():
        client = registry._client
        with told(registry.tracking_uri, "read"):
            experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.artifact_location)
    return None if registry.artifact_root is None else f"{registry.artifact_root}/{name}"


def _local(location: str) -> Path | None:
    if "://" not in location:
        return Path(location)
    address = urlsplit(location)
    return Path(unquote(address.path)) if address.scheme == "file" else None


def _try_folder(folder: Path) -> None:
    above = folder if folder.exists() else next(one for one in folder.absolute().parents if one.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=above, prefix=".flowguard-doctor-") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise FlowguardError(
            f"Models' files cannot be written to {folder} ({error.strerror}). Let this user write there, or name "
            "another place in FLOWGUARD_ARTIFACTS (for models that are new)."
        ) from None
