"""Write files so that a reader sees all of one or nothing: a temporary name, fsync, then a rename."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` at the end, removed if the block raises.

    Temporary names begin with a dot, which readers of Parquet folders leave out. Missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_parquet(
    path: Path, schema: pa.Schema, *, row_group_rows: int = 65_536
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that appends record batches to a Parquet file, which appears under its name at the end.

    Law: the same records give the same bytes, however they were cut: row groups always hold `row_group_rows`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.parquet"
    >>> with atomic_parquet(path, pa.schema([("score", pa.float64())])) as write:
    ...     write(pa.record_batch({"score": [1.0, 2.0]}))
    >>> pq.read_table(path).num_rows
    2
    """
    with atomic_path(path) as temporary:
        held: list[pa.RecordBatch] = []
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

            def flush(rows: int) -> None:
                table = pa.Table.from_batches(held, schema=schema)
                writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=row_group_rows)
                held[:] = table.slice(rows).to_batches()

            def write(batch: pa.RecordBatch) -> None:
                held.append(batch)
                while sum(one.num_rows for one in held) >= row_group_rows:
                    flush(row_group_rows)

            yield write
            if held:
                flush(row_group_rows)


def atomic_text(path: Path, text: str) -> None:
    """Write UTF-8 text, all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def atomic_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, all of it or nothing; NaN and infinities, which JSON lacks, raise
    `ValueError`."""
    atomic_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def _sync(path: Path) -> None:
    # Without it a power cut can leave a renamed file that is empty.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
