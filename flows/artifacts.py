"""What a run leaves to look at in Prefect: the strangest records with their reasons, and where the pages lie."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from flows.local import artifact_key  # isort: skip  (sets Prefect's defaults before it is imported)

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from flowguard.settings import settings
from flowguard.stages.report import Reported
from flowguard.stages.workspace import Workspace
from flowguard.store import QueuedRecord, Wanted

MOST = 20


def show_strangest(pipeline: str, batches: Sequence[str]) -> None:
    """The strangest flagged records of these batches, as the desk shows them; with links to it where one is named."""
    workspace = Workspace.open(pipeline)
    name, queue = workspace.pipeline.name, workspace.store.queue
    every = [record for batch in batches for record in queue.records(name, Wanted(batch=batch), most=MOST)]
    desk = settings(workspace.pipeline.root).desk_url
    records = heapq.nsmallest(MOST, every, key=lambda one: (one.p_value, -one.score, one.record_id))
    total = sum(tally.open + tally.decided for batch, tally in queue.tallies(name).items() if batch in set(batches))
    if not records:
        return
    lines = [
        f"# The strangest of {total:,} flagged records of {name}",
        "",
        *_pages(workspace, records),
        "| record | batch | p-value | reasons |",
        "|---|---|---|---|",
        *(_line(name, one, desk) for one in records),
    ]
    create_markdown_artifact(
        key=f"{artifact_key(name)}-strangest",
        markdown="\n".join(lines),
        description=f"{name}: {total:,} flagged records in {len(batches):,} batches",
    )


def _pages(workspace: Workspace, records: Sequence[QueuedRecord]) -> list[str]:
    """Where the batches are on the desk, and their version in MLflow, as far as settings say where people find both."""
    given, name = settings(workspace.pipeline.root), quote(workspace.pipeline.name, safe="")
    mlflow = given.mlflow_url or (given.tracking_uri if (given.tracking_uri or "").startswith("http") else None)
    links = []
    if given.desk_url is not None:
        links += [
            f"[{plain(batch)}]({given.desk_url.rstrip('/')}/p/{name}/batches/{quote(batch)})"
            for batch in sorted({one.batch for one in records})
        ]
    if mlflow is not None:
        links += [
            f"[version {version} in MLflow]({mlflow.rstrip('/')}/#/models/{name}/versions/{version})"
            for version in sorted({one.version for one in records})
        ]
    return [" | ".join(links), ""] if links else []


def show_pages(pipeline: str, reported: Reported) -> None:
    """Links to the pages that were written: of the run, and of the drift."""
    name = Workspace.open(pipeline).pipeline.name
    for kind, page in (("report", reported.run), ("drift-page", reported.drift)):
        if page is not None:
            create_link_artifact(
                key=f"{artifact_key(name)}-{kind}",
                link=page.resolve().as_uri(),
                link_text=page.name,
                description=f"{name}: {len(reported.pages):,} batches, one HTML file each beside it",
            )


def _line(name: str, one: QueuedRecord, desk: str | None) -> str:
    shown = plain(one.search or one.record_id)
    if desk is not None:
        query = urlencode({"batch": one.batch})
        shown = f"[{shown}]({desk.rstrip('/')}/p/{quote(name, safe='')}/records/{one.record_id}?{query})"
    reasons = "; ".join(plain(reason["words"]) for reason in one.document["reasons"])
    return f"| {shown} | {plain(one.batch)} | {one.p_value:.2g} | {reasons} |"


def plain(text: str) -> str:
    """A cell's text, of which Markdown makes nothing else; its page runs no HTML, and need not show any."""
    safe = "".join(f"\\{char}" if char in "\\`*_[]()#|!~" else char for char in " ".join(text.split()))
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
