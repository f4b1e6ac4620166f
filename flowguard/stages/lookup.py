"""Look up records that were scored or quarantined: by record_id, or by columns of their key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowguard.errors import FlowguardError, InputError
from flowguard.explain.words import REDACTED
from flowguard.stages.manifest import Manifest
from flowguard.stages.workspace import Workspace

RECORD_ID = re.compile(r"[0-9a-fA-F]{32}")
KINDS = ("scores", "quarantine")


@dataclass(frozen=True)
class Asked:
    """What was asked for: a `record_id`, or the text of some columns of the key, or what may be either."""

    record_id: str | None
    columns: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, key: Sequence[str]) -> Asked:
        """Read KEY; raises `InputError` for what is neither a record_id nor columns of `key`.

        A comma or an equals sign may stand in a value, unless a column of the key follows.

        >>> Asked.parse("carrier=DL,flight=1499", ["carrier", "flight"]).columns
        {'carrier': 'DL', 'flight': '1499'}
        >>> Asked.parse("1499", ["order"]).columns
        {'order': '1499'}
        """
        text = text.strip()
        names = "|".join(re.escape(name) for name in sorted(key, key=len, reverse=True))
        parts = re.split(rf",\s*(?=(?:{names})\s*=)", text) if key else [text]
        pairs = [part.partition("=") for part in parts]
        if key and all(mark and name.strip() in key for name, mark, _ in pairs):
            columns = {name.strip(): value.strip() for name, _, value in pairs}
            if len(columns) < len(pairs):
                raise InputError(f"KEY names a column twice; expected each of {', '.join(key)} at most once.")
            return cls(None, columns)
        record_id = text.lower() if RECORD_ID.fullmatch(text) else None
        if len(key) == 1 and text and (record_id or not _named(text, key)):
            return cls(record_id, {key[0]: text})
        if record_id is None:
            raise InputError(_unread(text, key))
        return cls(record_id, {})

    def shown(self, redact: Sequence[str] = ()) -> str:
        """What was asked, without the values of redacted columns."""
        pairs = [f"{name}={REDACTED if name in redact else value}" for name, value in self.columns.items()]
        told = ", ".join(pairs)
        return told if self.record_id is None else " or ".join(filter(None, [f"record_id {self.record_id}", told]))

    def tests(self, schema: pa.Schema) -> list[pc.Expression]:
        """One filter for each column; raises `InputError` for a value that the column cannot hold."""
        return [_test(name, text, schema.field(name).type) for name, text in self.columns.items()]


@dataclass(frozen=True)
class Found:
    """A record of a scored batch: its `row` in the batch's scores or, with `quarantined`, in its quarantine."""

    manifest: Manifest
    row: dict[str, Any]
    quarantined: bool

    @property
    def record_id(self) -> str:
        """Its id."""
        return str(self.row["record_id"])


def find(workspace: Workspace, asked: Asked, manifest: Manifest, *, most: int) -> tuple[list[Found], int]:
    """The records of a scored batch that match, at most so many, and how many there are; in the order of the files.

    Of a file only the columns that are asked for are read, and of these only the row groups that may hold such values.
    """
    found: list[Found] = []
    total = 0
    for path, kind in _files(workspace, manifest):
        test = _any_of(asked, pq.read_schema(path))
        rows, count = _rows(path, test, most - len(found)) if test is not None else ([], 0)
        found += [Found(manifest, row, kind == "quarantine") for row in rows]
        total += count
    return found, total


def find_near(workspace: Workspace, asked: Asked, manifests: Iterable[Manifest], *, most: int) -> list[Found]:
    """Records that match in all columns asked for but one, at most so many: the one that leaves the fewest."""
    found: list[list[Found]] = [[] for _ in asked.columns]
    counts = [0] * len(found)
    if len(found) < 2:
        return []
    for manifest in manifests:
        for path, kind in _files(workspace, manifest):
            schema = pq.read_schema(path)
            if not set(asked.columns) <= set(schema.names):
                continue
            tests = asked.tests(schema)
            but_one = [reduce(and_, [*tests[:place], *tests[place + 1 :]]) for place in range(len(tests))]
            table = pq.read_table(path, filters=reduce(or_, but_one), partitioning=None)
            for place, test in enumerate(but_one):
                rows = table.filter(test)
                counts[place] += rows.num_rows
                first = rows.slice(0, most - len(found[place])).to_pylist()
                found[place] += [Found(manifest, row, kind == "quarantine") for row in first]
    fewest = min((place for place, count in enumerate(counts) if count), key=lambda place: counts[place], default=0)
    return found[fewest]


def _any_of(asked: Asked, schema: pa.Schema) -> pc.Expression | None:
    """The filter of one file, None where it lacks a column that is asked for."""
    tests = []
    if asked.record_id is not None:
        tests.append(pc.field("record_id") == asked.record_id)
    if asked.columns and set(asked.columns) <= set(schema.names):
        # What looks like a record_id need not be a value that the key's one column could hold.
        with suppress(*[InputError] * bool(tests)):
            tests.append(reduce(and_, asked.tests(schema)))
    return reduce(or_, tests) if tests else None


def _rows(path: Path, test: pc.Expression, most: int) -> tuple[list[dict[str, Any]], int]:
    """The first rows that pass, and how many do; the other columns are read only where there are any."""
    count = pq.read_table(path, columns=["record_id"], filters=test, partitioning=None).num_rows
    if not count or most < 1:
        return [], count
    return pq.read_table(path, filters=test, partitioning=None).slice(0, most).to_pylist(), count


def _files(workspace: Workspace, manifest: Manifest) -> Iterator[tuple[Path, str]]:
    for kind in KINDS:
        if kind not in manifest.files:
            continue
        path = workspace.folder / manifest.files[kind]
        if not path.exists():
            raise FlowguardError(
                f"{path} is gone, which the manifest of batch {manifest.batch} names. "
                f"Score the batch again: `flowguard score {workspace.pipeline.path} --batch {manifest.batch}`."
            )
        yield path, kind


def _test(name: str, text: str, kind: pa.DataType) -> pc.Expression:
    field = pc.field(name)
    if not text:
        missing = field.is_null()
        return missing | (field == pa.scalar("", kind)) if _is_text(kind) else missing
    return field == _value(name, text, kind)


def _value(name: str, text: str, kind: pa.DataType) -> pa.Scalar:
    if _is_text(kind):
        return pa.scalar(text, kind)
    try:
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            try:
                return pa.scalar(text).cast(kind)
            except pa.ArrowInvalid:  # without a zone it is meant in the column's own
                return pc.assume_timezone(pa.scalar(text).cast(pa.timestamp(kind.unit)), kind.tz)
        return pa.scalar(text).cast(kind)
    except (pa.ArrowException, ValueError, TypeError):
        raise InputError(
            f"The key column {name} holds {kind}, and what was given for it is no such value. Write it as "
            "`flowguard flagged` shows it, without a thousands separator."
        ) from None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _named(text: str, key: Sequence[str]) -> bool:
    """Whether the text looks as if it meant to name a column of the key and missed it."""
    name, mark, _ = text.partition("=")
    return bool(mark) and bool(difflib.get_close_matches(name.strip(), key, n=1, cutoff=0.6))


def _unread(text: str, key: Sequence[str]) -> str:
    """Why KEY cannot be read, and what it may be."""
    by_id = "a record_id, the 32 hexadecimal digits that `flowguard flagged FILE --format json` shows"
    if not key:
        return f"KEY is {text!r}; expected {by_id}. This pipeline names no key columns."
    names = [part.partition("=")[0].strip() for part in text.split(",")]
    strange = next((name for name in names if name not in key), None)
    hint = ""
    if "=" in text and strange is not None:
        near = difflib.get_close_matches(strange, key, n=1, cutoff=0.5)
        hint = f" {strange} is no column of the key" + (f"; did you mean {near[0]}?" if near else ".")
    example = ",".join(f"{name}=..." for name in key)
    return f"KEY cannot be read; expected {example} (or some of these columns), or {by_id}.{hint}"
