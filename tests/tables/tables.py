"""Small Parquet folders for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def put(path: Path, columns: dict | pa.Table, *, group: int = 1000) -> Path:
    """Write a Parquet file, with row groups of `group` records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, row_group_size=group)
    return path


def rows(batches) -> list[dict]:
    """All records of a stream."""
    return [row for batch in batches for row in batch.to_pylist()]
