"""Check: does the data answer to the pipeline file? Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowguard.errors import SourceError
from flowguard.logs import scoped
from flowguard.stages.meaning import checked_schema
from flowguard.stages.workspace import Workspace


@dataclass(frozen=True)
class Checked:
    """What was found: the source in words, its batches and rows, the columns that are used and how."""

    pipeline: str
    name: str
    source: str
    batches: int
    first_batch: str
    last_batch: str
    rows: int
    features: tuple[str, ...]
    context: tuple[str, ...]
    unused: tuple[str, ...]


@scoped
def check(pipeline: str | Path) -> Checked:
    """Check the pipeline file and its data; raises `PipelineError`, `SourceError` or `SchemaError` with the remedy."""
    workspace = Workspace.open(pipeline)
    spec, source = workspace.resolved(), workspace.source()
    schema = checked_schema(spec, source)
    batches = source.batches()
    rows = sum(batch.rows for batch in batches)
    if not rows:
        raise SourceError(
            f"{spec.path.name}: {source.describe()} has the right columns but no record. "
            "Check the path or the query, and that the data was delivered."
        )
    used = {use.column for use in spec.uses()}
    return Checked(
        pipeline=str(spec.path),
        name=spec.name,
        source=source.describe(),
        batches=len(batches),
        first_batch=batches[0].name,
        last_batch=batches[-1].name,
        rows=rows,
        features=tuple(spec.columns.features),
        context=tuple(spec.columns.context),
        unused=tuple(name for name in schema.names if name not in used),
    )
