"""Records from a DuckDB query over Parquet tables: joins, lags, computed columns; one batch per day."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from flowguard.errors import SchemaError, SourceError
from flowguard.tables.location import Place, find_files, stamp_of, written_at
from flowguard.tables.parquet import read_footer
from flowguard.tables.period import UNDATED, Days, days_of, is_clock
from flowguard.tables.source import Batch, Source


def open_query(
    query: str,
    *,
    tables: Mapping[str, str | Sequence[str]],
    root: Path,
    time: str,
    key: Sequence[str] = (),
    memory: str = "2GB",
    threads: int | None = None,
) -> QuerySource:
    """Open one DuckDB SELECT as a source; `tables` maps names usable in it to Parquet files, folders or
    globs.

    Batches are the days of the column `time`. Records come ordered by `key`, then by every column that is
    read, so that a rerun yields the same rows in the same order. Raises `SourceError` naming table, file and
    DuckDB's message.
    """
    places = {}
    for name, path in tables.items():
        try:
            places[name] = find_files(path, root=root)
        except SourceError as error:
            raise SourceError(f"Table {name!r}: {error}") from None
    return QuerySource(query, places, time=time, key=tuple(key), memory=memory, threads=threads)


class QuerySource(Source):
    """The rows of a query; one DuckDB connection in memory, opened at first use and closed by `close`."""

    def __init__(
        self,
        query: str,
        places: Mapping[str, Sequence[Place]],
        *,
        time: str,
        key: tuple[str, ...],
        memory: str,
        threads: int | None,
    ) -> None:
        self._query = query
        self._places = {name: list(files) for name, files in places.items()}
        self._time = time
        self._key = key
        self._memory = memory
        self._threads = threads
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._closing: weakref.finalize | None = None
        self._schema: pa.Schema | None = None
        self._datasets: dict[str, ds.Dataset] = {}

    def describe(self) -> str:
        tables = [
            f"{name} ({files[0].shown}{f' and {len(files) - 1} more' if len(files) > 1 else ''})"
            for name, files in self._places.items()
        ]
        return f"the query over {', '.join(tables)}"

    def schema(self) -> pa.Schema:
        if self._schema is None:
            cursor = self._cursor()
            try:
                found = cursor.sql(f"SELECT * FROM {self._rows} LIMIT 0").to_arrow_table().schema
            except duckdb.Error as error:
                raise self._refused(error) from None
            finally:
                cursor.close()
            self._schema = pa.schema([field.with_type(_decoded(field.type)) for field in found])
            self._check_columns(self._schema)
        return self._schema

    def batches(self, since: dt.date | None = None, until: dt.date | None = None) -> list[Batch]:
        time = _quoted(self._time)
        found = self._fetch(
            f"SELECT CAST({time} AS DATE), count(*) FROM {self._rows} "
            f"{self._where(Days(since, until))} GROUP BY 1 ORDER BY 1"
        )
        if not found and not self._fetch(f"SELECT 1 FROM {self._rows} LIMIT 1"):
            raise SourceError(f"{self.describe()} returns no row at all; expected at least one.")
        named = [Batch(UNDATED if day is None else day.isoformat(), rows) for day, rows in found]
        return sorted(named, key=lambda batch: batch.name)

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
        name = batch.name if isinstance(batch, Batch) else batch
        days = days_of(batch=name, since=since, until=until, exclude=exclude)
        names = list(self.schema().names if columns is None else columns)
        for column in names:
            if column not in self.schema().names:
                raise SchemaError(
                    f"{self.describe()} has no column {column!r}; it has {', '.join(self.schema().names)}."
                )
        return self._stream(names, days, chunk_rows)

    def stamp(self, batch: Batch) -> str:
        files = "".join(stamp_of(files) for files in self._places.values())
        return hashlib.sha256(f"{self._query}{files}".encode()).hexdigest()

    def delivered(self) -> dt.datetime:
        return max(written_at(files) for files in self._places.values())

    def close(self) -> None:
        if self._closing is not None:
            self._closing()
        self._connection = self._closing = None

    def _stream(self, names: Sequence[str], days: Days, chunk_rows: int) -> Iterator[pa.RecordBatch]:
        selected = ", ".join(map(_quoted, names)) or "0 AS nothing"
        order = ", ".join(_quoted(name) for name in dict.fromkeys((*self._key, *names)))
        sql = f"SELECT {selected} FROM {self._rows} {self._where(days)}" + f" ORDER BY {order}" * bool(order)
        cursor = self._cursor()
        try:
            for batch in cursor.sql(sql).to_arrow_reader(chunk_rows):
                if batch.num_rows:
                    yield (
                        pa.RecordBatch.from_arrays([_values(batch.column(name)) for name in names], names=list(names))
                        if names
                        else batch.select([])
                    )
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise self._refused(error) from None
        finally:
            cursor.close()

    def _fetch(self, sql: str) -> list[tuple]:
        self.schema()
        cursor = self._cursor()
        try:
            return cursor.execute(sql).fetchall()
        except duckdb.Error as error:
            raise self._refused(error) from None
        finally:
            cursor.close()

    @property
    def _rows(self) -> str:
        # On lines of its own, or a comment at the query's end would hide the bracket.
        return f"(\n{self._query.strip().rstrip(';')}\n) AS records"

    def _where(self, days: Days) -> str:
        """The days as a filter around the query; DuckDB pushes it down to the files where it can."""
        time = _quoted(self._time)
        if days.undated:
            return f"WHERE {time} IS NULL"
        tests = []
        if days.since is not None:
            tests.append(f"{time} >= DATE '{days.since.isoformat()}'")
        if days.until is not None:
            tests.append(f"{time} < DATE '{days.until.isoformat()}'")
        for first, last in days.exclude:
            inside = f"{time} >= DATE '{first.isoformat()}' AND {time} < DATE '{last.isoformat()}'"
            tests.append(f"({time} IS NULL OR NOT ({inside}))")
        return "WHERE " + " AND ".join(tests) if tests else ""

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            spill = Path(tempfile.gettempdir()) / f"flowguard-query-{secrets.token_hex(8)}"
            self._connection = self._connect(spill)
            self._closing = weakref.finalize(self, _close, self._connection, spill)
        cursor = self._connection.cursor()
        for name, dataset in self._datasets.items():
            cursor.register(name, dataset)  # unlike a view, known to this cursor alone
        return cursor

    def _connect(self, spill: Path) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": self._memory,
                "temp_directory": str(spill),  # made when something does not fit into memory
                # Never the network for extensions: what is not built in is not there.
                "autoinstall_known_extensions": False,
                # A table name that is missing must not turn out to be a variable of this program.
                "python_enable_replacements": False,
                **({"threads": self._threads} if self._threads else {}),
            },
        )
        # The days of a timestamp with time zone must be the same on every machine.
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        try:
            for name, places in self._places.items():
                self._add_table(connection, name, places)
            # The query reads the tables it is given and nothing else: what it depends on is then known (`stamp`).
            local = [place.path for places in self._places.values() for place in places if place.filesystem is None]
            connection.execute(f"SET allowed_paths = [{', '.join(map(_literal, local))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            self._check_select(connection)
        except duckdb.Error as error:
            connection.close()
            raise self._refused(error) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _add_table(self, connection: duckdb.DuckDBPyConnection, name: str, places: Sequence[Place]) -> None:
        try:
            for place in places:
                read_footer(place)
        except SourceError as error:
            raise SourceError(f"Table {name!r}: {error}") from None
        if places[0].filesystem is None:
            files = ", ".join(_literal(place.path) for place in places)
            hive = any(place.partition for place in places)
            connection.execute(
                f"CREATE VIEW {_quoted(name)} AS SELECT * FROM read_parquet([{files}], "
                f"union_by_name = true, hive_partitioning = {str(hive).lower()})"
            )
        else:
            # DuckDB's own S3 reader is an extension it would have to download; pyarrow's is at hand.
            dataset = ds.dataset(
                [place.path for place in places],
                filesystem=places[0].filesystem,
                format="parquet",
                partitioning=ds.partitioning(flavor="hive"),
            )
            self._datasets[name] = dataset
            connection.register(name, dataset)

    def _check_select(self, connection: duckdb.DuckDBPyConnection) -> None:
        statements = connection.extract_statements(self._query)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SourceError(
                f"source.query holds {len(statements)} statements or is no SELECT; expected one SELECT over "
                f"{', '.join(self._places)}."
            )

    def _check_columns(self, schema: pa.Schema) -> None:
        for use, name in [("source.time", self._time), *(("source.key", name) for name in self._key)]:
            if name not in schema.names:
                raise SchemaError(
                    f"{use} names {name!r}, which the query does not return; it returns {', '.join(schema.names)}."
                )
        kind = schema.field(self._time).type
        if not is_clock(kind):
            raise SchemaError(
                f"The query returns {self._time!r}, its time column, as {kind}; "
                "expected a date or a timestamp. "
                f"Cast it in the query: CAST({self._time} AS DATE)."
            )

    def _refused(self, error: Exception) -> SourceError:
        text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        hint = " Name the files that a query reads under `source.tables`." if "Cannot access file" in text else ""
        return SourceError(f"DuckDB cannot run {self.describe()}: {text}{hint}")


def _close(connection: duckdb.DuckDBPyConnection, spill: Path) -> None:
    connection.close()
    shutil.rmtree(spill, ignore_errors=True)


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _values(array: pa.Array) -> pa.Array:
    """An enum as its values."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
