"""One Parquet file: its footer, and its records as a stream of batches, row group by row group."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowguard.errors import SourceError
from flowguard.tables.location import Place
from flowguard.tables.period import Days

# Read ahead per column: little where reading is cheap, more where each request costs a round trip.
_LOCAL_BUFFER, _REMOTE_BUFFER = 1 << 18, 1 << 22


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself."""

    place: Place
    schema: pa.Schema
    rows: int


@contextmanager
def open_parquet(place: Place) -> Iterator[pq.ParquetFile]:
    """The open file; raises `SourceError` naming it when it is missing, damaged or no Parquet."""
    handle: Any = None
    try:
        try:
            # pyarrow's own default, pre_buffer, holds a whole row group of the file in memory.
            source = place.path if place.filesystem is None else place.filesystem.open_input_file(place.path)
            buffer = _LOCAL_BUFFER if place.filesystem is None else _REMOTE_BUFFER
            handle = pq.ParquetFile(source, pre_buffer=False, buffer_size=buffer)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(place, error) from None
        yield handle
    finally:
        if handle is not None:
            handle.close(force=True)


def read_footer(place: Place) -> Footer:
    """Schema and row count, from the footer alone."""
    with open_parquet(place) as file:
        try:
            schema = file.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(place, error) from None
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise SourceError(
                f"{place.shown} has several columns named {', '.join(map(repr, twice))}; expected each once. "
                "Rename them where the file is written."
            )
        return Footer(place, schema.remove_metadata(), file.metadata.num_rows)


def stream(
    place: Place,
    columns: Sequence[str],
    *,
    time: str | None,
    days: Days,
    chunk_rows: int,
    only: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Record batches of at most `chunk_rows`, with these columns; row groups wholly outside `days` are not
    read.

    `only` names the row groups to read, all of them without it.
    """
    with open_parquet(place) as file:
        groups = _groups(file, time, days)
        if only is not None:
            groups = [group for group in groups if group in set(only)]
        if not groups:
            return
        try:
            if not columns:
                # No column of the file is wanted (all come from the folder's name): only the count matters.
                for group in groups:
                    rows = file.metadata.row_group(group).num_rows
                    for start in range(0, rows, chunk_rows):
                        yield _without_columns(min(chunk_rows, rows - start))
                return
            for batch in file.iter_batches(batch_size=chunk_rows, row_groups=groups, columns=list(columns)):
                # Selected again by exact name: Parquet's own projection takes "a" to mean "a.b" as well.
                if batch.num_rows:
                    yield batch.select(list(columns))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _unreadable(place, error) from None


def row_groups(place: Place) -> list[int]:
    """How many records each row group holds."""
    with open_parquet(place) as file:
        return [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]


def _without_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _groups(file: pq.ParquetFile, time: str | None, days: Days) -> list[int]:
    every = list(range(file.metadata.num_row_groups))
    if time is None or days.everything or days.undated:
        return every
    names = [file.metadata.schema.column(index).path for index in range(file.metadata.num_columns)]
    if time not in names:
        return every
    at = names.index(time)
    return [group for group in every if _overlaps(file.metadata.row_group(group).column(at).statistics, days)]


def _overlaps(statistics: Any, days: Days) -> bool:
    """Whether a row group can hold days of the period, with a day to spare for time zones."""
    if statistics is None or not statistics.has_min_max:
        return True
    try:
        low, high = statistics.min, statistics.max
    except (OverflowError, ValueError, pa.ArrowException):
        return True  # a year that Python's dates do not have
    if not isinstance(low, dt.date) or not isinstance(high, dt.date):
        return True
    try:
        first, last = _date(low) - dt.timedelta(1), _date(high) + dt.timedelta(1)
    except OverflowError:
        return True
    return (days.since is None or last >= days.since) and (days.until is None or first < days.until)


def _date(value: dt.date) -> dt.date:
    return value.date() if isinstance(value, dt.datetime) else value


def _unreadable(place: Place, error: BaseException) -> SourceError:
    text = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{place.shown} is no longer there; expected a Parquet file.")
    if isinstance(error, PermissionError):
        return SourceError(f"{place.shown} cannot be read: permission denied.")
    if "magic bytes" in text or "Parquet file size is" in text or "too small" in text:
        return SourceError(
            f"{place.shown} is not a Parquet file, or it is cut off: it does not end with Parquet's mark. "
            "Write it again, or remove it from the source."
        )
    return SourceError(f"{place.shown} is damaged: {text}. Write it again, or remove it from the source.")
