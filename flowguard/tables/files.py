"""Records in Parquet files: one file, a folder, a glob, a list; local or s3://."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from flowguard.errors import SchemaError, SourceError
from flowguard.tables.chunks import rechunk
from flowguard.tables.location import Place, find_files, stamp_of, written_at
from flowguard.tables.naming import batch_names
from flowguard.tables.parquet import Footer, read_footer, row_groups, stream
from flowguard.tables.partition import partition_columns
from flowguard.tables.period import UNDATED, Days, day_numbers, day_of, days_of, is_clock
from flowguard.tables.source import Batch, Source, need_time
from flowguard.tables.union import fault_of, union_schema

_SAMPLED_GROUPS = 64


def open_files(
    path: str | Sequence[str],
    *,
    root: Path,
    batch: Literal["file", "partition", "day"] = "file",
    time: str | None = None,
) -> FileSource:
    """Open Parquet files as a source; relative paths start at `root`.

    Batches are the files, their Hive partitions (folders named `day=2026-11-01`, whose names are columns
    too), or the days of the column `time`. Raises `SourceError` when there is no such file.
    """
    shown = path if isinstance(path, str) else ", ".join(path)
    places = find_files(path, root=root)
    if batch == "partition" and any(not place.partition for place in places):
        bare = next(place for place in places if not place.partition)
        raise SourceError(
            f"{bare.shown} lies in no partition; expected folders named column=value (day=2026-11-01), "
            "or `batch: file` or `batch: day`."
        )
    if batch == "day" and time is None:
        raise SourceError("Daily batches need a time column; set `source.time`.")
    return FileSource(places, batch=batch, time=time, shown=shown)


class FileSource(Source):
    """Parquet files, read one row group at a time."""

    def __init__(
        self,
        places: Sequence[Place],
        *,
        batch: Literal["file", "partition", "day"],
        time: str | None,
        shown: str,
    ) -> None:
        self._places = list(places)
        self._batch = batch
        self._time = time
        self._shown = shown
        self._index = {place: index for index, place in enumerate(self._places)}
        # Of each file whose days were counted: the first and the last, and whether some records have none.
        self._spans: dict[str, tuple[int, int, bool]] = {}

    def describe(self) -> str:
        count = len(self._places)
        return f"{self._shown} ({count} Parquet files)" if count > 1 else self._places[0].shown

    @property
    def partitioned(self) -> bool:
        """Whether every file lies in a Hive partition, a folder named column=value."""
        return all(place.partition for place in self._places)

    @property
    def in_names(self) -> Sequence[str]:
        return tuple(self._partitions)

    def schema(self) -> pa.Schema:
        return self._schema

    def batches(self, since: dt.date | None = None, until: dt.date | None = None) -> list[Batch]:
        need_time(self._time, since=since, until=until, exclude=())
        if not any(footer.rows for footer in self._footers):
            raise SourceError(f"{self.describe()} is empty: no record in it. Expected at least one.")
        days = Days(since, until)
        if self._batch == "day":
            counts = Counter[str]()
            for place in self._places:
                counts.update(self._count_days(place, days))
            return [Batch(name, counts[name]) for name in sorted(counts)]
        found = []
        for name, places in self._groups.items():
            if days.everything:
                rows = sum(self._footers[self._index[place]].rows for place in places)
                found.append(Batch(name, rows))
            else:
                rows = sum(sum(self._count_days(place, days).values()) for place in places)
                if rows:
                    found.append(Batch(name, rows))
        return sorted(found, key=lambda batch: batch.name)

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        batch: Batch | str | None = None,
        since: dt.date | None = None,
        until: dt.date | None = None,
        exclude: Sequence[tuple[dt.date, dt.date]] = (),
        chunk_rows: int = 65_536,
    ) -> Iterator[pa.RecordBatch]:
        need_time(self._time, since=since, until=until, exclude=exclude)
        wanted = pa.schema([self._field(name) for name in (self._schema.names if columns is None else columns)])
        name = batch.name if isinstance(batch, Batch) else batch
        places, day = self._places, None
        if name is not None and self._batch == "day":
            day = name
        elif name is not None:
            places = self._groups.get(name) or self._groups[self.find_batch(name).name]
        days = days_of(batch=day, since=since, until=until, exclude=exclude)
        pieces = (piece for place in places for piece in self._pieces(place, wanted, days, chunk_rows))
        return rechunk(pieces, chunk_rows)

    def stamp(self, batch: Batch) -> str:
        return stamp_of(self._places if self._batch == "day" else self._groups[batch.name])

    def delivered(self) -> dt.datetime:
        return written_at(self._places)

    def find_batch(self, text: str) -> Batch:
        if self._batch == "file":
            asked = os.path.abspath(text)
            for name, (place,) in self._groups.items():
                if text in (place.shown, place.path) or (place.filesystem is None and place.path == asked):
                    text = name
        return super().find_batch(text)

    def sample(self, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        total = sum(footer.rows for footer in self._footers)
        if total <= rows:
            yield from self.read(columns)
            return
        # Row groups spread evenly over all files, the same number of records from each.
        groups = [(place, group) for place in self._places for group in range(len(row_groups(place)))]
        chosen = groups[:: max(1, len(groups) // _SAMPLED_GROUPS)]
        each = -(-rows // len(chosen))
        wanted = pa.schema([self._field(name) for name in columns])
        for place, group in chosen:
            left = each
            for piece in self._pieces(place, wanted, Days(), min(each, 65_536), only=[group]):
                yield piece.slice(0, left)
                left -= piece.num_rows
                if left <= 0:
                    break

    @cached_property
    def _footers(self) -> list[Footer]:
        remote = any(place.filesystem is not None for place in self._places)
        if not remote or len(self._places) == 1:
            return [read_footer(place) for place in self._places]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(read_footer, self._places))

    @cached_property
    def _partitions(self) -> Mapping[str, tuple[pa.DataType, list[pa.Scalar]]]:
        return partition_columns(self._places)

    @cached_property
    def _schema(self) -> pa.Schema:
        schema = union_schema(self._footers)
        for name, (kind, _) in self._partitions.items():
            if name not in schema.names:  # a column of the file itself says more than its folder's name
                schema = schema.append(pa.field(name, kind))
        return schema

    @cached_property
    def _groups(self) -> dict[str, list[Place]]:
        if self._batch == "file":
            names = batch_names([place.inner for place in self._places], whole=[place.shown for place in self._places])
            return {name: [place] for name, place in zip(names, self._places)}
        inner = [",".join(f"{column}={value}" for column, value in place.partition) for place in self._places]
        distinct = list(dict.fromkeys(inner))
        named = dict(zip(distinct, batch_names(distinct)))
        groups: dict[str, list[Place]] = {name: [] for name in named.values()}
        for place, text in zip(self._places, inner):
            groups[named[text]].append(place)
        return groups

    def _field(self, name: str) -> pa.Field:
        if name not in self._schema.names:
            raise SchemaError(f"{self.describe()} has no column {name!r}; it has {', '.join(self._schema.names)}.")
        field = self._schema.field(name)
        fault = fault_of(field)
        if fault:
            raise SchemaError(
                f"Column {name!r} cannot be read from every file: {fault}. Write the files alike, or narrow the path."
            )
        return field

    def _pieces(
        self,
        place: Place,
        wanted: pa.Schema,
        days: Days,
        chunk_rows: int,
        *,
        only: Sequence[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        if not days.everything and not self._may_hold(place, days):
            return
        own = set(self._footers[self._index[place]].schema.names)
        columns = [name for name in wanted.names if name in own]
        time = None if days.everything else self._clock()
        if time is not None and time in own and time not in columns:
            columns.append(time)
        for batch in stream(place, columns, time=time, days=days, chunk_rows=chunk_rows, only=only):
            arrays = [self._array(batch, place, field) for field in wanted]
            piece = pa.RecordBatch.from_arrays(arrays, schema=wanted) if len(wanted) else batch.select([])
            if time is not None:
                mask = days.mask(self._array(batch, place, self._schema.field(time)))
                if not mask.any():
                    continue
                piece = piece if mask.all() else piece.filter(pa.array(mask))
            yield piece

    def _array(self, batch: pa.RecordBatch, place: Place, field: pa.Field) -> pa.Array:
        if field.name in batch.schema.names:
            array = batch.column(field.name)
            if pa.types.is_dictionary(array.type):
                array = array.dictionary_decode()
            return array if array.type == field.type else array.cast(field.type, safe=False)
        value = self._partitions[field.name][1][self._index[place]]
        return pa.repeat(value, batch.num_rows)

    def _clock(self) -> str:
        assert self._time is not None
        field = self._field(self._time)
        if not is_clock(field.type):
            raise SchemaError(
                f"Time column {self._time!r} of {self.describe()} is {field.type}; "
                "expected a date or a timestamp. Write it as one, or use a query that casts it."
            )
        return self._time

    def _may_hold(self, place: Place, days: Days) -> bool:
        if place.path not in self._spans:
            return True
        first, last, undated = self._spans[place.path]
        if days.undated:
            return undated
        early = days.until is not None and first >= (days.until - dt.date(1970, 1, 1)).days
        late = days.since is not None and last < (days.since - dt.date(1970, 1, 1)).days
        open_ended = days.since is None and days.until is None
        return (undated and open_ended) or not (early or late)

    def _count_days(self, place: Place, days: Days) -> Counter[str]:
        time = self._clock()
        counts: Counter[int] = Counter()
        undated = 0
        for batch in self._pieces(place, pa.schema([self._schema.field(time)]), days, 1 << 20):
            numbers, known = day_numbers(batch.column(0))
            undated += int((~known).sum())
            values, times = np.unique(numbers[known], return_counts=True)
            counts.update(dict(zip(values.tolist(), times.tolist())))
        if days.everything:
            self._spans[place.path] = (min(counts, default=1), max(counts, default=0), bool(undated))
        named = Counter({day_of(number).isoformat(): rows for number, rows in counts.items()})
        if undated:
            named[UNDATED] = undated
        return named
