"""Deal: read the records of the split's period once and deal them out to train, validation, calibration and hold-out.

Each part waits in an Arrow file in the work folder, so that every later pass reads a memory-mapped file instead of
running the query again, and nothing holds the table.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flowguard import __version__
from flowguard.errors import SourceError
from flowguard.logs import scoped
from flowguard.registry import Version
from flowguard.spec import Pipeline
from flowguard.spec.sections import CalibrationSection
from flowguard.stages.exclude import Excluded, Exclusion
from flowguard.stages.meaning import checked_schema, columns_of, policy_of
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace
from flowguard.tables import Fingerprint, part_of, unit_of

UNIT, TIME = "__unit__", "__time__"
PARTS = ("train", "validation", "calibration", "holdout")


@dataclass(frozen=True)
class Dealt:
    """The records dealt out in `folder`; its name, `key`, stands for these records under these settings.

    `unit` are the columns whose hash dealt them out. `known` is the registered version that was trained from just the
    same, if there is one. `excluded` are the confirmed anomalies that were dealt to no part.
    """

    pipeline: str
    folder: Path
    key: str
    fingerprint: str
    records: dict[str, int]
    unit: tuple[str, ...]
    known: Version | None
    excluded: Excluded | None = None


@scoped
def deal(pipeline: str | Path) -> Dealt:
    """Deal the records out by hash of whole units; those that people confirmed as anomalies are left out of every part.

    They are looked up once, and `key` stands for them too: what was begun without other ones is never gone on with.

    Raises `SourceError` when a part that is needed gets none, `CalibrationError` when there are too few records to
    calibrate the rate asked for.
    """
    workspace = Workspace.open(pipeline)
    spec, source = workspace.resolved(), workspace.source()
    columns = list(columns_of(spec, checked_schema(spec, source)).types)
    drafts = workspace.folder / "work"
    drafts.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".dealing-", dir=drafts))
    records = dict.fromkeys(PARTS, 0)
    exclusion = Exclusion.of(workspace, columns)
    fingerprint = Fingerprint()
    try:
        with ExitStack() as stack, work("reading and dealing out records") as bar:
            writers: dict[str, Any] = {}
            time = time_of(spec)
            read = list(dict.fromkeys([*columns, *spec.unit, *([time] if time else [])]))
            # Without a unit it is the whole record as it is read here.
            unit = spec.unit or tuple(read)
            also = [name for name in exclusion.columns if name not in read]
            since, until = spec.split.since, spec.split.until
            for whole in source.read([*read, *also], since=since, until=until, exclude=spec.exclude):
                # The key is read besides where it is asked for, and has no say in anything else.
                chunk, out = whole.select(read), exclusion.mask(whole)
                fingerprint.update(chunk)
                parts = part_of(chunk, unit=unit, shares=spec.split.shares, salt=spec.split.salt)
                kept = chunk.select(columns).append_column(UNIT, pa.array(unit_of(chunk, unit=unit)))
                if time:
                    kept = kept.append_column(TIME, chunk.column(time))
                for part in PARTS:
                    if part not in writers:
                        sink = stack.enter_context(pa.OSFile(str(temporary / f"{part}.arrow"), "wb"))
                        writers[part] = stack.enter_context(pa.ipc.new_file(sink, kept.schema))
                    exclusion.count(part, int((out & (parts == part)).sum()))
                    mine = kept.filter(pa.array((parts == part) & ~out))
                    records[part] += mine.num_rows
                    writers[part].write_batch(mine)
                bar.advance(chunk.num_rows)
        left_out = exclusion.made
        _refuse_empty(workspace, records, source.describe())
        # The calibration would refuse it too, but only after the training.
        policy_of(spec).check(records["calibration"])
        key = _key(spec.model_dump(mode="json"), fingerprint.hexdigest(), left_out)
        folder = drafts / key
        folder.mkdir(exist_ok=True)
        for part in PARTS:
            os.replace(temporary / f"{part}.arrow", folder / f"{part}.arrow")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    known = [version for version in workspace.registry.versions(spec.name) if version.tags.get("training") == key]
    same = known[0] if known else None
    return Dealt(str(spec.path), folder, key, fingerprint.hexdigest(), records, unit, same, left_out)


def stream(folder: Path, part: str) -> Callable[[], Iterator[pa.RecordBatch]]:
    """The records of one part, read from disk at every call."""

    def read() -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(folder / f"{part}.arrow")) as mapped, pa.ipc.open_file(mapped) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)

    return read


def units_of(batch: pa.RecordBatch) -> np.ndarray:
    """The unit that each record of a part belongs to, as text."""
    return batch.column(UNIT).to_numpy().astype(str)


def time_of(spec: Pipeline) -> str | None:
    """The column that says of what days the calibration records are; None where there is none, or it is redacted."""
    time = spec.source.time
    return None if time in spec.source.redact else time


def _refuse_empty(workspace: Workspace, records: dict[str, int], described: str) -> None:
    spec = workspace.pipeline
    total = sum(records.values())
    if not total:
        period = f"{spec.split.since or 'the beginning'} to {spec.split.until or 'the end'}"
        raise SourceError(
            f"{spec.path}: no record lies in the split's period ({period}) of {described}. "
            "Check split.since, split.until and source.exclude."
        )
    empty = [part for part in ("train", "validation", "calibration") if not records[part]]
    if empty:
        raise SourceError(
            f"{spec.path}: split.{empty[0]} got none of {total:,} records: whole units "
            f"({', '.join(spec.unit) or 'single records'}) are dealt out by hash, and there are too few of them. "
            f"Give more data, a finer split.unit, or a larger split.{empty[0]}."
        )


def _key(spec: dict[str, Any], fingerprint: str, left_out: Excluded | None) -> str:
    # All that decides the bundle, and nothing else: where the data lies, when it is scored and on how many threads it
    # is queried may change without a new version.
    source = {name: spec["source"][name] for name in ("key", "redact")}
    deciding = [
        {name: spec[name] for name in ("columns", "split", "model", "score", "policy")},
        source,
        spec["resources"]["tile"],
    ]
    # What not all releases had counts only where it is used, so that known versions stay known.
    if spec["calibration"] != CalibrationSection().model_dump(mode="json"):
        deciding.append(spec["calibration"])
    if left_out is not None:
        deciding.append({"excluded": left_out.digest})
    text = json.dumps([deciding, fingerprint, __version__], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
