"""Lists as files: CSV for spreadsheets, Parquet for programs.

A file is of one state of the queue, whoever decides meanwhile: it is written aside, a part at a time, and sent then.
"""

from __future__ import annotations

import csv
import json
import tempfile
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import APIRouter, Depends, Request
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

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
    columns = [*(name for name in key if name not in SCHEMA.names), *SCHEMA.names]
    file = tempfile.NamedTemporaryFile(suffix=".csv")  # noqa: SIM115 - closed once it was sent
    # Without the mark at its beginning, Excel reads UTF-8 as something else.
    with open(file.name, "w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([neutral(name) for name in columns])
        for one in workspace.store.queue.stream(asked.pipeline, asked.wanted):
            row = _row(one, key)
            row["reasons"] = "; ".join(row["reasons"])
            writer.writerow([neutral(row[name]) for name in columns])
    return _sent(file, asked, "csv", "text/csv; charset=utf-8")


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
    file = tempfile.NamedTemporaryFile(suffix=".parquet")  # noqa: SIM115 - closed once it was sent
    with pq.ParquetWriter(file.name, schema) as writer:
        rows = (_row(one, key) for one in workspace.store.queue.stream(asked.pipeline, asked.wanted))
        while part := list(islice(rows, _AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(part, schema))
    return _sent(file, asked, "parquet", "application/vnd.apache.parquet")


def _sent(file: IO[bytes], asked: Listing, suffix: str, kind: str) -> Response:
    """The file as an answer, after which it is gone."""
    name = f"{_file(asked)}.{suffix}"
    return FileResponse(file.name, media_type=kind, filename=name, background=BackgroundTask(file.close))


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
