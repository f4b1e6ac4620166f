"""The registry: versions of models, found by alias or number, fetched, compared and promoted."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from flowguard.errors import BundleError, RegistryError
from flowguard.registry.connection import connect, import_mlflow, shown, sqlite_path, told
from flowguard.registry.log import Entry, log_run
from flowguard.registry.model import ARTIFACT
from flowguard.registry.remove import begun_removals, holds_run, remove_run, remove_version, size_of_run
from flowguard.registry.version import CHALLENGER, CHAMPION, Version
from flowguard.settings import settings

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"


class Registry:
    """An MLflow server or database that holds flowguard's versions; nothing is opened before the first use.

    `artifact_root` is where a database keeps the files of new experiments (a server decides that itself).
    Methods raise `RegistryError` (exit code 2) for a name, version or alias that is not there and
    `FlowguardError` (exit code 1) when MLflow cannot be reached or used; both say what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Registry(f"sqlite:///{folder}/mlflow.db").versions()  # reading creates nothing
    []
    """

    def __init__(
        self, tracking_uri: str, *, registry_uri: str | None = None, artifact_root: str | Path | None = None
    ) -> None:
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri or tracking_uri
        self.artifact_root = artifact_root

    @classmethod
    def at(cls, folder: Path, *, project: Path | None = None) -> Registry:
        """The registry that the settings of `project` name, else SQLite in its output folder `folder`."""
        folder = Path(folder).absolute()
        given = settings(project or folder.parent)
        tracking = given.tracking_uri or f"sqlite:///{folder / DATABASE}"
        served = tracking.startswith(("http", "databricks"))
        return cls(
            tracking,
            registry_uri=given.registry_uri,
            artifact_root=None if served else given.artifacts or folder / ARTIFACTS,
        )

    def __repr__(self) -> str:
        return f"Registry({shown(self.registry_uri)!r})"

    @property
    def ui_command(self) -> str:
        """What to run, or to open, to look at this registry."""
        if self.tracking_uri.startswith("http"):
            return shown(self.tracking_uri)
        return f"mlflow ui --backend-store-uri {shown(self.tracking_uri)}"

    @cached_property
    def _client(self) -> Any:
        return connect(self.tracking_uri, self.registry_uri)

    def versions(self, name: str | None = None) -> list[Version]:
        """Every version of `name`, or of every model that flowguard registered; by name, newest first."""
        if not self._exists():
            return []
        client = self._client
        with told(self.registry_uri, "read"):
            if name is None:
                models = _pages(client.search_registered_models, max_results=500)
            else:
                model = _registered(client, name)
                models = [model] if model is not None else []
            found = [version for model in models for version in self._versions_of(model)]
        return sorted(found, key=lambda version: (version.name, -version.version))

    def find(self, name: str, digest: str) -> Version | None:
        """The version of `name` that holds the bundle with this digest, or None."""
        return next((version for version in self.versions(name) if version.digest == digest), None)

    def resolve(self, name: str, which: str | int = CHAMPION) -> Version:
        """The version of `name` with the alias or number `which`; `RegistryError` says what there is."""
        versions = self.versions(name)
        if not versions:
            others = sorted({version.name for version in self.versions()})
            there = f"It holds {', '.join(others)}." if others else "It holds no model yet."
            raise RegistryError(
                f"There is no model named {name} in the registry {shown(self.registry_uri)}. {there} "
                "Train one with `flowguard train FILE`; `flowguard models` lists what is registered."
            )
        wanted = str(which)
        for version in versions:
            if wanted == str(version.version) or wanted in version.aliases:
                return version
        there = "; ".join(str(version).removeprefix(f"{name} version ") for version in versions)
        if wanted.isdigit():
            raise RegistryError(
                f"The model {name} has no version {wanted}. It has {there}. See `flowguard models {name}`."
            )
        raise RegistryError(
            f"No version of the model {name} is its {wanted}. It has {there}. Choose the version that scores "
            f"with `flowguard promote {name} VERSION`, or name one by its number."
        )

    def fetch(self, version: Version, to: Path) -> Path:
        """The bundle of `version` as a folder in `to`, named by its digest; downloaded once, checked every
        time.

        Raises `BundleError` when the registry holds another bundle than was registered. A killed download
        leaves nothing that counts.
        """
        from flowguard.detector import digest

        to = Path(to)
        target = to / version.digest
        try:
            if target.is_dir() and digest(target) == version.digest:
                return target
        except BundleError:
            pass  # A damaged copy is replaced below.
        to.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=to))
        try:
            folder = self._download(version, work)
            if digest(folder) != version.digest:
                raise BundleError(
                    f"The bundle of {version} in {shown(self.registry_uri)} is not the one registered, "
                    f"whose digest is {version.digest}. Score with another version, or train again."
                )
            if target.exists():
                os.replace(target, work / "damaged")
            try:
                os.replace(folder, target)
            except OSError:
                if not target.is_dir():  # else another process fetched it first
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return target

    def log_version(
        self,
        bundle: Path,
        *,
        name: str,
        inputs: Mapping[str, str],
        key: Sequence[str] = (),
        redact: Collection[str] = (),
        params: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        metrics: Mapping[str, float] | None = None,
        plots: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        example: Any = None,
    ) -> Version:
        """Log the sealed folder `bundle` as one run and register it as the next version of `name`.

        The first version of a model becomes its champion, every later one its challenger. Registering comes
        last, so that a killed run leaves no version; a bundle that is registered already is not registered
        again.

        `inputs` are the raw columns that scoring reads, with their Arrow types as text; columns of `key` may
        come along and identify a record. `params` may be nested. `history` has one entry per epoch, logged as
        metrics with the epoch as step. `plots` maps file names (with suffix) to matplotlib figures, bytes or
        text. `example` is a small pandas table of inputs to show in MLflow, without the values of columns in
        `redact`.
        """
        from flowguard.detector import digest

        if not re.fullmatch(r"\w[\w.\- ]*", name):
            raise RegistryError(
                f"{name!r} cannot name a model: use letters, digits, '_', '-', '.' and spaces, the first a "
                "letter or digit. The name of a model is the name of its pipeline."
            )
        identity = digest(bundle)
        known = self.find(name, identity)
        if known is not None:
            return self._place(known)
        if example is not None:
            hidden = {column: None for column in redact if column in example.columns}
            # MLflow would write NaN and "NaT" for missing values, and its example would be no JSON.
            example = example.astype(object).where(example.notna(), None).assign(**hidden)
        entry = Entry(
            bundle=Path(bundle),
            digest=identity,
            name=name,
            inputs=dict(inputs),
            key=tuple(key),
            params=dict(params or {}),
            history=list(history),
            metrics=dict(metrics or {}),
            plots=dict(plots or {}),
            tags=dict(tags or {}),
            example=example,
        )
        return self._place(self.resolve(name, log_run(self, self._client, entry)))

    def set_alias(self, name: str, alias: str, version: int) -> Version:
        """Point `alias` at `version`, taking it from the version that had it."""
        self.resolve(name, version)
        with told(self.registry_uri, "written to"):
            self._client.set_registered_model_alias(name, alias, str(version))
        return self.resolve(name, version)

    def promote(self, name: str, version: int) -> int | None:
        """Make `version` the champion; returns the number of the champion before it."""
        chosen = self.resolve(name, version)
        before = next((other for other in self.versions(name) if CHAMPION in other.aliases), None)
        with told(self.registry_uri, "written to"):
            if CHAMPION not in chosen.aliases:
                self._client.set_registered_model_alias(name, CHAMPION, str(version))
            if CHALLENGER in chosen.aliases:
                self._client.delete_registered_model_alias(name, CHALLENGER)
        return before.version if before is not None else None

    def note(
        self, version: Version, *, metrics: Mapping[str, float], step: int, tags: Mapping[str, str | None]
    ) -> None:
        """Add to a registered version what became known of it later: metrics of its run, and tags; None removes one."""
        client = self._client
        if metrics:
            from mlflow.entities import Metric

            now = int(time.time() * 1000)
            with told(self.tracking_uri, "written to"):
                client.log_batch(
                    version.run_id, metrics=[Metric(key, value, now, step) for key, value in metrics.items()]
                )
        with told(self.registry_uri, "written to"):
            for key, text in tags.items():
                if text is not None and version.tags.get(key) != text:
                    client.set_model_version_tag(version.name, str(version.version), key, text)
                elif text is None and key in version.tags:
                    client.delete_model_version_tag(version.name, str(version.version), key)

    def remove(self, version: Version) -> None:
        """Remove a version with its run and all their files; a removal that was killed is ended by `end_removal`."""
        remove_version(self, self._client, version)

    def size(self, version: Version) -> tuple[int, int]:
        """How many files a version and its run have, and their bytes."""
        return size_of_run(self, self._client, version.run_id)

    def holds(self, version: Version) -> bool:
        """Whether the files of a version lie where this registry keeps them, so that it may remove them."""
        return holds_run(self, self._client, version.run_id)

    def begun_removals(self, name: str) -> dict[str, str]:
        """Runs of versions whose removal was killed after the version was gone, with the versions' numbers."""
        if not self._exists():
            return {}
        there = {version.run_id for version in self.versions(name)}
        begun = begun_removals(self, self._client, name)
        return {run: number for run, number in begun.items() if run not in there and holds_run(self, self._client, run)}

    def end_removal(self, run_id: str) -> None:
        """Remove what is left of a removal that was killed."""
        remove_run(self, self._client, run_id)

    def _place(self, version: Version) -> Version:
        """Give a version without alias its own: the first one is the champion, the newest the challenger.

        The number decides, not how many there are now: of three trainings at once, each sees the others' versions.
        """
        versions = self.versions(version.name)
        championed = any(CHAMPION in other.aliases for other in versions)
        if version.aliases:
            return version
        if version.version == versions[-1].version and not championed:
            return self.set_alias(version.name, CHAMPION, version.version)
        if version.version == versions[0].version:
            return self.set_alias(version.name, CHALLENGER, version.version)
        return version

    def _exists(self) -> bool:
        """False for a SQLite registry without a file: reading would create one, which takes seconds."""
        path = sqlite_path(self.registry_uri)
        return path is None or path.exists()

    def _download(self, version: Version, to: Path) -> Path:
        client = self._client
        with told(self.registry_uri, "read"):
            source = client.get_model_version_download_uri(version.name, str(version.version)).rstrip("/")
            folder = import_mlflow().artifacts.download_artifacts(
                artifact_uri=f"{source}/{ARTIFACT}",
                dst_path=str(to),
                tracking_uri=self.tracking_uri,
                registry_uri=self.registry_uri,
            )
        return Path(folder)

    def _versions_of(self, model: Any) -> list[Version]:
        client = self._client
        found = _pages(client.search_model_versions, filter_string=f"name = '{model.name}'", max_results=1000)
        # A shared registry also holds models that flowguard did not make.
        ours = [entry for entry in found if entry.tags.get("digest")]
        runs = self._runs(model.name) if ours else {}
        return [
            Version(
                name=entry.name,
                version=int(entry.version),
                run_id=entry.run_id,
                aliases=tuple(sorted(a for a, number in model.aliases.items() if str(number) == str(entry.version))),
                digest=entry.tags["digest"],
                created=datetime.fromtimestamp(entry.creation_timestamp / 1000, tz=UTC),
                tags=dict(entry.tags),
                metrics=runs.get(entry.run_id, ({}, {}))[0],
                params=runs.get(entry.run_id, ({}, {}))[1],
            )
            for entry in ours
        ]

    def _runs(self, name: str) -> dict[str, tuple[dict[str, float], dict[str, str]]]:
        """Last metrics, and parameters, of every run of the experiment `name`, in one request per thousand runs."""
        client = self._client
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return {}
        runs = _pages(client.search_runs, experiment_ids=[experiment.experiment_id], max_results=1000)
        return {run.info.run_id: (dict(run.data.metrics), dict(run.data.params)) for run in runs}


def _registered(client: Any, name: str) -> Any:
    """The registered model `name`, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _pages(search: Any, **query: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(**query, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found
