"""MLflow: does it answer, has the model a champion, is its bundle whole, can files be written where models go."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx
from packaging.version import InvalidVersion, Version

from flowguard.detector import load
from flowguard.errors import BundleError
from flowguard.registry import CHAMPION
from flowguard.registry.health import WAIT_SECONDS, answer, try_artifacts
from flowguard.settings import masked, settings
from flowguard.stages.doctor.clock import clock
from flowguard.stages.doctor.finding import Answer, Check, fail, ok, warn
from flowguard.stages.score import bundles
from flowguard.stages.workspace import Workspace

GROUP = "MLflow"
_ADDRESS = "Correct MLFLOW_TRACKING_URI (`tracking_uri` in flowguard.toml), or start the server: mlflow server"
_MLFLOW_SECONDS = 60.0  # the first import of MLflow on a busy machine


def registry_of(workspace: Workspace) -> list[Check]:
    """The checks of the registry itself."""
    return [
        Check(GROUP, "registry", lambda: _registry(workspace), _ADDRESS, gate=True),
        *(
            [Check(GROUP, "clock", lambda: clock(answer(workspace.registry).skew, "the MLflow server"))]
            if workspace.registry.tracking_uri.startswith("http")
            else []
        ),
    ]


def model_of(workspace: Workspace, shown: Path) -> list[Check]:
    """The checks of a pipeline's model; for a registry that answers."""
    group, name = f"pipeline {workspace.pipeline.name}", workspace.pipeline.name
    runs = workspace.relative(workspace.runs)
    return [
        Check(
            group,
            "artifacts",
            lambda: _artifacts(workspace),
            "Correct what the object store or the folder refuses; settings: docs/settings.md.",
            seconds=_MLFLOW_SECONDS,
        ),
        Check(
            group,
            "champion",
            lambda: _champion(workspace),
            f"flowguard train {shown}; or choose a version: flowguard models {name} --runs {runs}, then flowguard "
            f"promote {name} VERSION --runs {runs}",
            seconds=_MLFLOW_SECONDS,
            gate=True,
        ),
        Check(
            group,
            "bundle",
            lambda: _bundle(workspace),
            f"Restore the model's files from a backup; until then score with another version (flowguard promote {name} "
            f"VERSION --runs {runs}), or train: flowguard train {shown}",
            seconds=_MLFLOW_SECONDS,
        ),
    ]


def objects_of(root: Path) -> list[Check]:
    """The checks of the S3 services that the settings name."""
    given = settings(root)
    named = {"S3": given.s3_endpoint, "S3 of artifacts": given.artifacts_s3_endpoint}
    return [
        Check("object store", name, lambda endpoint=endpoint: _endpoint(endpoint))  # type: ignore[misc]
        for name, endpoint in named.items()
        if endpoint is not None
    ]


def _registry(workspace: Workspace) -> Answer:
    found = answer(workspace.registry)
    if not found.made:
        return ok(f"{found.address}: the first training makes it")
    if found.server is None:
        return ok(f"{found.address}, MLflow {found.client}")
    said = f"{found.address}, server {found.server}, client {found.client}"
    try:
        server, client = Version(found.server), Version(found.client)
    except InvalidVersion:
        return ok(said)
    if server.major != client.major:
        return fail(
            f"{said}: they do not understand each other", f"pip install 'mlflow=={server}', or upgrade it there"
        )
    if server.release[:2] < client.release[:2]:
        return warn(f"{said}: the server is older", f"Upgrade the server: pip install 'mlflow=={client}'")
    return ok(said)


def _champion(workspace: Workspace) -> Answer:
    version = workspace.registry.resolve(workspace.pipeline.name, CHAMPION)
    return ok(f"version {version.version}, of {version.created:%Y-%m-%d}")


def _bundle(workspace: Workspace) -> Answer:
    version = workspace.registry.resolve(workspace.pipeline.name, CHAMPION)
    # Not the copy in the output folder: whether the registry still holds what was registered is the question.
    with tempfile.TemporaryDirectory(prefix="flowguard-doctor-") as folder:
        load(workspace.registry.fetch(version, Path(folder)))
    copy = bundles(workspace) / version.digest
    if copy.exists():
        try:
            load(copy)
        except BundleError as error:
            return fail(f"the copy that scoring uses is damaged: {error}", f"rm -r {copy}    # it is fetched again")
    return ok(f"every file is as it was sealed (digest {version.digest[:12]})")


def _artifacts(workspace: Workspace) -> Answer:
    location = try_artifacts(workspace.registry, workspace.pipeline.name)
    if location is None:
        return ok("the MLflow server chooses the place with the first training")
    return ok(f"{location} may be written to")


def _endpoint(endpoint: str) -> Answer:
    try:
        response = httpx.get(endpoint, timeout=WAIT_SECONDS)
    except httpx.HTTPError as error:
        return fail(
            f"{masked(endpoint)} does not answer ({error or type(error).__name__})",
            "Start the object store, or correct AWS_ENDPOINT_URL_S3 and MLFLOW_S3_ENDPOINT_URL (docs/settings.md).",
        )
    return ok(f"{masked(endpoint)} answers ({response.status_code} to an unsigned request)")
