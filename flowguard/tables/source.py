"""A source of records: the contract that files and queries share."""

from __future__ import annotations

import datetime as dt
import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

import pyarrow as pa

from flowguard.errors import SourceError


@dataclass(frozen=True)
class Batch:
    """Records that are scored together: a name that is safe as a folder's, and how many they are."""

    name: str
    rows: int


class Source(ABC):
    """Records in batches, streamed with bounded memory; usable in a `with` block, closed at its end."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Every column, with its type."""

    @abstractmethod
    def batches(self, since: dt.date | None = None, until: dt.date | None = None) -> list[Batch]:
        """The batches that hold records of the days [since, until), sorted by name; rows counts these
        records.

        Raises `SourceError` when the source holds no record at all.
        """

    @abstractmethod
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
        """Record batches of at most `chunk_rows` rows with these columns in this order (all without
        `columns`).

        `since`, `until` and `exclude` refer to days of the time column; the order of records is the same
        every time.
        """

    def sample(self, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """All records when they are at most `rows`; else about as many, from batches spread evenly over the
        source."""
        batches = self.batches()
        total = sum(batch.rows for batch in batches)
        if total <= rows:
            yield from self.read(columns)
            return
        step = max(1, -(-total // rows))
        left = rows
        for batch in batches[:: min(step, len(batches))]:
            for piece in self.read(columns, batch=batch):
                yield piece.slice(0, left)
                left -= min(left, piece.num_rows)
                if left == 0:
                    return

    @abstractmethod
    def stamp(self, batch: Batch) -> str:
        """The state of the files that `batch` is read from: while it is equal, nothing needs reading."""

    @abstractmethod
    def delivered(self) -> dt.datetime:
        """When the newest of its files was written."""

    @abstractmethod
    def describe(self) -> str:
        """Where the records come from, in a few words."""

    @property
    def in_names(self) -> Sequence[str]:
        """Columns whose values stand in the names of files, folders and batches."""
        return ()

    def find_batch(self, text: str) -> Batch:
        """The batch of this name, or the batch that is this file. Raises `SourceError` when there is none."""
        batches = self.batches()
        for batch in batches:
            if batch.name == text:
                return batch
        names = [batch.name for batch in batches]
        near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]}?" if near else f"The first is {names[0]}, the last {names[-1]}."
        raise SourceError(f"There is no batch {text!r} in {self.describe()}, which has {len(names)} batches. {hint}")

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open
        """Release what the source holds open; reading again afterwards is allowed."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def need_time(time: str | None, *, since: object, until: object, exclude: Sequence[object]) -> None:
    """Refuse days where no time column was named."""
    if time is None and (since is not None or until is not None or exclude):
        raise SourceError(
            "Days were asked for (since, until or exclude), but the source names no time column; "
            "set `source.time` to a date or timestamp column."
        )
