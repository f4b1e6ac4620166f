"""Even out a stream of record batches: many small ones become few of a given size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa


def rechunk(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same records in the same order, in batches of exactly `rows` (the last one may be smaller)."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count < rows:
            continue
        whole = _joined(held)
        start = 0
        while count - start >= rows:
            yield whole.slice(start, rows)
            start += rows
        held = [whole.slice(start)] if start < count else []
        count -= start
    if count:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
