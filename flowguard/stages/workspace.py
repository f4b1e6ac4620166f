"""Where a pipeline's things lie: outputs, manifests, work in progress, registry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flowguard import logs
from flowguard.registry import Registry
from flowguard.settings import settings
from flowguard.spec import Pipeline, load_pipeline
from flowguard.stages.init import infer_columns
from flowguard.store import Store
from flowguard.tables import Source, open_files
from flowguard.tables.query import open_query


def store_in(runs: Path, *, project: Path | None = None) -> Store:
    """What is remembered between runs, opened once per process: the settings' store, else SQLite in `runs`.

    `project` is the folder whose settings count, by default the one that holds `runs`.
    """
    return _opened(store_address(runs, project=project), _Connections.kept)


def store_address(runs: Path, *, project: Path | None = None) -> str:
    """Where `store_in` looks; with its password."""
    return settings(project or runs.absolute().parent).store or f"sqlite:///{runs.absolute() / 'flowguard.db'}"


def keep_connections() -> None:
    """From now on stores keep their connections: for a process that asks all the time and does not fork."""
    _Connections.kept = True


class _Connections:
    kept = False


@lru_cache(maxsize=8)
def _opened(address: str, pooled: bool) -> Store:
    return Store.open(address, pooled=pooled)


@dataclass(frozen=True)
class Workspace:
    """One pipeline with its folder `runs/<pipeline>/` and the registry beside it."""

    pipeline: Pipeline

    @classmethod
    def open(cls, path: str | Path) -> Workspace:
        """Read the pipeline file at `path`."""
        pipeline = load_pipeline(Path(path))
        logs.note(pipeline=pipeline.name)
        return cls(pipeline)

    def resolved(self) -> Pipeline:
        """The pipeline with `columns: infer` replaced by what its data suggests."""
        return infer_columns(self.pipeline, self.source())

    @property
    def runs(self) -> Path:
        """The folder that all pipelines of a project share: registry, artifacts, Prefect's database."""
        return self.pipeline.root / self.pipeline.output.folder

    @property
    def folder(self) -> Path:
        """This pipeline's own folder."""
        return self.runs / self.pipeline.name

    @property
    def registry(self) -> Registry:
        """The model registry that the settings name, or SQLite in the runs folder."""
        return Registry.at(self.runs, project=self.pipeline.root)

    @property
    def store(self) -> Store:
        """Batches scored, drift, error budgets and the journal of aliases."""
        return store_in(self.runs, project=self.pipeline.root)

    def source(self) -> Source:
        """The pipeline's data."""
        source, root = self.pipeline.source, self.pipeline.root
        if source.query is not None and source.tables is not None and source.time is not None:
            return open_query(
                source.query,
                tables=dict(source.tables),
                root=root,
                time=source.time,
                key=source.key,
                memory=self.pipeline.resources.memory,
                threads=self.pipeline.resources.threads,
            )
        assert source.path is not None, "the spec lets no source pass without a path or a query"
        return open_files(source.path, root=root, batch=source.batch, time=source.time)

    def output(self, kind: str, batch: str, version: int) -> Path:
        """The folder of one batch's `scores`, `reasons` or `quarantine`."""
        return self.folder / kind / f"batch={batch}" / f"version={version}"

    def relative(self, path: Path) -> str:
        """`path` as a user would type it from the project folder."""
        try:
            return str(path.relative_to(self.pipeline.root))
        except ValueError:
            return str(path)
