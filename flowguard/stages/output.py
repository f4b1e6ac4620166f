"""The Parquet files of a scored batch: scores, reasons, quarantine.

Each is written under a temporary name and renamed to one that carries the fingerprint of the batch's data, so that a
re-delivered batch never mixes with its former self. Nothing counts until the manifest names it.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from flowguard.detector import Scores
from flowguard.explain import Reason
from flowguard.stages.workspace import Workspace
from flowguard.tables import atomic_parquet

REASONS = pa.schema(
    [
        ("record_id", pa.string()),
        ("rank", pa.int32()),
        ("column", pa.string()),
        ("share", pa.float64()),
        ("term", pa.float64()),
        ("observed", pa.float64()),
        ("observed_text", pa.string()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("words", pa.string()),
        ("contrast", pa.float64()),
        ("best", pa.float64()),
        ("best_text", pa.string()),
        ("partner", pa.string()),
    ]
)


_LEFT_BEHIND = 24 * 3600.0


class BatchWriter:
    """Collects one batch's output under temporary names; `finish` puts it in place, an error leaves nothing."""

    def __init__(self, workspace: Workspace, batch: str, version: int, *, key: Sequence[str]) -> None:
        self._folder = workspace.folder
        self._places = {kind: workspace.output(kind, batch, version) for kind in ("scores", "reasons", "quarantine")}
        # Redacted key columns stay in these files, which are the user's own data; they reach no page, log or registry.
        self._key = list(key)
        self._stack = ExitStack()
        self._temporary: dict[str, Path] = {}
        self._writers: dict[str, Callable[[pa.RecordBatch], None]] = {}
        self._files: dict[str, str] = {}
        self._undecided: Callable[[pa.RecordBatch], None] | None = None
        self._draft: Path | None = None

    def __enter__(self) -> BatchWriter:
        self._stack.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        for path in (*self._temporary.values(), *([self._draft] if self._draft else [])):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write the files to their end, still under their temporary names."""
        self._stack.close()

    def finish(self, fingerprint: str) -> dict[str, str]:
        """Rename every file to the name that carries the data's fingerprint; returns kind -> path below the folder."""
        for kind in list(self._temporary):
            path = self._places[kind] / f"{fingerprint[:16]}.parquet"
            os.replace(self._temporary.pop(kind), path)
            self._files[kind] = path.relative_to(self._folder).as_posix()
        return dict(self._files)

    def write_scores(
        self, chunk: pa.RecordBatch, record_ids: Sequence[str], scores: Scores, usable: np.ndarray
    ) -> None:
        """One row for every record that could be scored; flags come at the end, with `write_flags`."""
        columns: dict[str, Any] = {"record_id": pa.array(record_ids, pa.string())}
        columns |= {name: chunk.column(name) for name in self._key}
        for name in ("log_likelihood", "log_density", "log_mass", "score", "p_value"):
            columns[name] = pa.array(getattr(scores, name), pa.float64())
        columns["extrapolated"] = pa.array(scores.extrapolated, pa.bool_())
        columns["group"] = pa.array(scores.group, pa.string())
        columns["flag"] = pa.array(np.zeros(len(scores), dtype=bool))
        batch = pa.record_batch(columns).filter(pa.array(usable))
        if self._undecided is None:
            self._draft = self._places["scores"] / f".{secrets.token_hex(8)}.arrow"
            self._draft.parent.mkdir(parents=True, exist_ok=True)
            sink = self._stack.enter_context(pa.OSFile(str(self._draft), "wb"))
            self._undecided = self._stack.enter_context(pa.ipc.new_file(sink, batch.schema)).write_batch
        self._undecided(batch)

    def write_flags(self, flag: np.ndarray) -> None:
        """The flags of all records that were written, (n,), in their order."""
        if self._draft is None:
            return
        self._stack.close()
        start = 0
        with pa.memory_map(str(self._draft)) as mapped, pa.ipc.open_file(mapped) as reader:
            place = reader.schema.get_field_index("flag")
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                mine = pa.array(flag[start : start + batch.num_rows])
                start += batch.num_rows
                self._write("scores", batch.set_column(place, "flag", mine))
        self._draft.unlink()
        self._draft = None

    def write_reasons(self, reasons: Sequence[Sequence[Reason]]) -> None:
        """One row for every reason of every flagged record, strongest first."""
        rows = [asdict(reason) for its in reasons for reason in its]
        if rows:
            self._write("reasons", pa.RecordBatch.from_pylist(rows, schema=REASONS))

    def write_quarantine(self, chunk: pa.RecordBatch, record_ids: Sequence[str], refused: Sequence[str | None]) -> None:
        """One row for every record that could not be scored, with the reason."""
        rows = [row for row, reason in enumerate(refused) if reason is not None]
        if not rows:
            return
        part = chunk.take(pa.array(rows))
        columns: dict[str, Any] = {"record_id": pa.array([record_ids[row] for row in rows], pa.string())}
        columns |= {name: part.column(name) for name in self._key}
        columns["reason"] = pa.array([refused[row] for row in rows], pa.string())
        self._write("quarantine", pa.record_batch(columns))

    def remove_superseded(self) -> None:
        """Delete what the manifest in place does not name: former deliveries, leftovers of runs killed long ago."""
        kept = {self._folder / path for path in self._files.values()}
        for folder in self._places.values():
            for path in folder.glob("*"):
                # A young temporary file may belong to a run that scores the same batch elsewhere just now.
                if path not in kept and (not path.name.startswith(".") or _age(path) > _LEFT_BEHIND):
                    path.unlink(missing_ok=True)

    def _write(self, kind: str, batch: pa.RecordBatch) -> None:
        if kind not in self._writers:
            # A name that starts with a dot is left out by readers of Parquet folders.
            path = self._places[kind] / f".{secrets.token_hex(8)}.parquet"
            self._temporary[kind] = path
            self._writers[kind] = self._stack.enter_context(atomic_parquet(path, batch.schema))
        self._writers[kind](batch)


def _age(path: Path) -> float:
    """Seconds since the file was written; 0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
