"""Lists as files: CSV for spreadsheets, Parquet for programs. Streamed, so that a list may be of any length."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Depends, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from flowguard.review.web.listing import Listing, listing
from flowguard.review.web.shelf import workspace_of
from flowguard.review.web.who import User, current
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord
from flowguard.tables.sheet import neutral

router = APIRouter()

SCHEMA = pa.schema(
    [
        ("batch", pa.string()),
        ("record_id", pa.string()),
        ("version", pa.int32()),
        ("flagged", pa.bool_()),
        ("score", pa.float64()),
        ("p_value", pa.float64()),
        ("case_id", pa.string()),
        ("verdict", pa.string()),
        ("who", pa.string()),
        ("reasons", pa.list_(pa.string())),
    ]
)
_AT_ONCE = 1000


@router.get("/p/{pipeline}/export.csv")
def as_csv(
    request: Request,
    pipeline: str,
    batch: str | None = None,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """The records of a list; no cell of the file is a formula."""
    asked = listing(request, pipeline, batch=batch)
    key = _key(workspace)
    return StreamingResponse(
        _lines(workspace, asked, key),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{_file(asked)}.csv"'},
    )


@router.get("/p/{pipeline}/export.parquet")
def as_parquet(
    request: Request,
    pipeline: str,
    batch: str | None = None,
    workspace: Workspace = Depends(workspace_of),
    user: User = Depends(current),
) -> Response:
    """The records of a list, cells as they are; the columns of the key are text, as CSV has them."""
    asked = listing(request, pipeline, batch=batch)
    key = _key(workspace)
    schema = pa.schema([*((name, pa.string()) for name in key if name not in SCHEMA.names), *SCHEMA])
    # Written to a file: a reader of Parquet begins at its end.
    file = tempfile.NamedTemporaryFile(suffix=".parquet")  # noqa: SIM115 - closed once it was sent
    with pq.ParquetWriter(file.name, schema) as writer:
        for part in _parts(workspace, asked):
            rows = [_row(one, key) for one in part]
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return FileResponse(
        file.name,
        media_type="application/vnd.apache.parquet",
        filename=f"{_file(asked)}.parquet",
        background=BackgroundTask(file.close),
    )


def _lines(workspace: Workspace, asked: Listing, key: list[str]) -> Iterator[str]:
    columns = [*(name for name in key if name not in SCHEMA.names), *SCHEMA.names]
    yield "\ufeff" + _line(columns)  # without the mark, Excel reads UTF-8 as something else
    for part in _parts(workspace, asked):
        for one in part:
            row = _row(one, key)
            row["reasons"] = "; ".join(row["reasons"])
            yield _line([row[name] for name in columns])


def _line(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([neutral(cell) for cell in cells])
    return text.getvalue()


def _parts(workspace: Workspace, asked: Listing) -> Iterator[list[QueuedRecord]]:
    skip = 0
    while part := workspace.store.queue.records(asked.pipeline, asked.wanted, most=_AT_ONCE, skip=skip):
        yield part
        skip += len(part)


def _row(one: QueuedRecord, key: list[str]) -> dict[str, Any]:
    return {
        **{name: _text(one.document["key"].get(name)) for name in key if name not in SCHEMA.names},
        "batch": one.batch,
        "record_id": one.record_id,
        "version": one.version,
        "flagged": one.flagged,
        "score": one.score,
        "p_value": one.p_value,
        "case_id": one.case_id,
        "verdict": one.decision,
        "who": one.who if one.decision else None,
        "reasons": [reason["words"] for reason in one.document["reasons"]],
    }


def _key(workspace: Workspace) -> list[str]:
    source = workspace.pipeline.source
    return [name for name in source.key if name not in source.redact]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


def _file(asked: Listing) -> str:
    """A name that every header and file system takes."""
    parts = [asked.pipeline, asked.wanted.batch or "", asked.wanted.state or asked.wanted.kind]
    return "-".join("".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in p) for p in parts if p)
