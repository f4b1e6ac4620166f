"""Init: profile data that was never seen before and draft a pipeline file that works as it stands."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from flowguard.errors import InputError
from flowguard.spec import Columns, Pipeline, load_pipeline
from flowguard.stages.draft import Draft, Entry, entries_of, text_of
from flowguard.tables import ColumnProfile, Source, atomic_path, open_files, profile

FEWEST = 100
SHARE = 0.17  # of the records go to calibration, by the drafted split
_LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Drafted:
    """What was seen and how it was laid out; `left_out` maps columns to the reason."""

    path: str
    name: str
    source: str
    rows: int
    features: tuple[str, ...]
    context: tuple[str, ...]
    time: str | None
    key: tuple[str, ...]
    batch: str
    left_out: dict[str, str]
    false_alarm_rate: float


def init(data: str, out: str | Path, *, name: str | None = None, force: bool = False) -> Drafted:
    """Profile Parquet data (a file, folder or glob; local or s3://) and write a commented pipeline file.

    Raises `InputError` when `out` exists (unless `force`), when there are fewer than 100 records, or when no
    column can be a feature; `SourceError` when the data cannot be read. Nothing is written then.
    """
    out = Path(out)
    if out.is_dir():
        raise InputError(f"{out} is a folder; expected a file's name, such as {out}/orders.yaml.")
    if out.exists() and not force:
        raise InputError(f"{out} exists already and may hold your edits. Name another file, or pass --force.")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", name):
        raise InputError(f"The name {name!r} does not serve; expected letters, digits, - and _, at most 100.")
    source = open_files(data, root=Path.cwd())
    columns = profile(source)
    rows = sum(batch.rows for batch in source.batches())
    if rows < FEWEST:
        records = "1 record" if rows == 1 else f"{rows} records"
        raise InputError(
            f"{source.describe()} holds {records}; at least {FEWEST} are needed to fit a model and to set a "
            "threshold. Point init at more data (a folder or a glob takes in many files)."
        )
    entries = entries_of(columns)
    if not any(entry.section == "features" for entry in entries):
        raise InputError(
            f"{source.describe()} has no column that can be a feature: {_listed(columns)}. "
            "Add a column of numbers, categories or booleans, or compute one with a query."
        )
    draft = Draft(
        name=name or _name_of(out),
        data=_data_from(data, out),
        described=source.describe(),
        rows=rows,
        columns=columns,
        entries=entries,
        batch=_batch_of(columns, partitioned=source.partitioned),
        level=level_for(rows * SHARE),
        out=out.as_posix(),
    )
    with atomic_path(out) as temporary:
        temporary.write_text(text_of(draft), encoding="utf-8")
        # The draft must load before it takes its place.
        pipeline = load_pipeline(temporary)
    return Drafted(
        path=str(out),
        name=pipeline.name,
        source=source.describe(),
        rows=rows,
        features=tuple(pipeline.columns.features),
        context=tuple(pipeline.columns.context),
        time=pipeline.source.time,
        key=pipeline.source.key,
        batch=pipeline.source.batch,
        left_out={column.name: column.why for column in columns if column.role == "skip"},
        false_alarm_rate=pipeline.policy.rule()["false_alarm_rate"],
    )


def infer_columns(pipeline: Pipeline, source: Source) -> Pipeline:
    """The pipeline with `columns: infer` replaced by what its data suggests; any other pipeline as it is.

    Redacted columns, the key and the time column itself are never taken; time gives cyclic context.
    """
    if not pipeline.columns.inferred:
        return pipeline
    known = {*pipeline.source.key, *pipeline.source.redact}
    columns = [column for column in profile(source) if column.name not in known]
    entries = entries_of(columns, time=pipeline.source.time)
    if not any(entry.section == "features" for entry in entries):
        raise InputError(
            f"{pipeline.path}: `columns: infer` found no column that can be a feature in {source.describe()}: "
            f"{_listed(columns)}. Name features under `columns.features`, or compute one with a query."
        )
    return pipeline.model_copy(update={"columns": _columns(entries)})


def level_for(records: float) -> float:
    """The false alarm rate to begin with, which about this many calibration records can support.

    >>> level_for(40_000), level_for(3_000), level_for(200)
    (0.001, 0.01, 0.02)
    """
    if records >= 20_000:
        return 0.001
    # Shares are met by chance: count on three deviations fewer.
    surely = max(records - 3 * records**0.5, 1.0)
    smallest = 1.0 / (surely / 2 + 1)
    return next((level for level in _LEVELS if level >= smallest), _LEVELS[-1])


def _columns(entries: list[Entry]) -> Columns:
    sections: dict[str, dict[str, object]] = {"features": {}, "context": {}}
    for entry in entries:
        sections[entry.section][entry.name] = entry.settings
    return Columns.model_validate(sections)


def _batch_of(columns: list[ColumnProfile], *, partitioned: bool) -> str:
    spans = [column.seen.days for column in columns if column.role == "time" and column.seen is not None]
    if any(days > 1 for days in spans):
        return "day"
    return "partition" if partitioned else "file"


def _name_of(out: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", out.stem).strip("-_")
    return name[:100] or "pipeline"


def _data_from(data: str, out: Path) -> str:
    """The data's path as the pipeline file says it: relative to the project folder where it lies in it."""
    if "://" in data:
        return data
    folder = Path(os.path.abspath(out)).parent
    root = folder.parent if folder.name == "pipelines" else folder
    full = Path(os.path.abspath(Path(data).expanduser()))
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.as_posix()


def _listed(columns: list[ColumnProfile]) -> str:
    words = [
        f"{column.name!r} is "
        + (f"left out ({column.why})" if column.role == "skip" else f"{column.role} {column.kind}".strip())
        for column in columns[:6]
    ]
    return "; ".join(words) + (f"; and {len(columns) - 6} more" if len(columns) > 6 else "")
