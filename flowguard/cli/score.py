"""Score every new batch, or one; scoring a batch again does nothing unless its data changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.manifest import Manifest

EXAMPLE = "flowguard score pipelines/flights.yaml --batch 2013-05-25"


def command(
    file: Path = output.PIPELINE,
    batch: str | None = typer.Option(None, help="One batch: a day, a file's or a partition's name."),
    since: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help="Only batches from this day on."),
    until: datetime | None = typer.Option(None, formats=["%Y-%m-%d"], help="Only batches before this day."),
    version: str = typer.Option("champion", help="An alias or a version number."),
    force: bool = typer.Option(False, help="Score again what was scored before."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.settings import settings
    from flowguard.spec import load_pipeline
    from flowguard.stages.enqueue import enqueue
    from flowguard.stages.notify import notify_scored
    from flowguard.stages.pruned import again_words, pruned_words
    from flowguard.stages.score import score

    with output.reporting(as_json):
        results = score(
            file,
            batch=batch,
            since=since.date() if since else None,
            until=until.date() if until else None,
            version=version,
            force=force,
        )
        notify_scored(file, enqueue(file).batches)

    def tell() -> None:
        fresh = [result.manifest for result in results if result.fresh]
        pruned = [result.manifest for result in results if result.manifest.was_pruned("scores")]
        for manifest in pruned:
            output.say(f"{pruned_words(manifest)} {again_words(manifest.batch, file)}")
        if not fresh and not pruned:
            output.say(
                "Nothing new to score."
                if not results
                else "Scored before with the same data and version; nothing done."
            )
        elif fresh:
            tell_scored(fresh)
        url = settings(load_pipeline(file).root).desk_url
        desk = f"open {url}" if url else f"flowguard review {file}"
        output.next_commands(f"flowguard flagged {file}", f"flowguard report {file}", desk)

    output.emit([{"fresh": result.fresh, **vars(result.manifest)} for result in results], as_json, tell)


def tell_scored(manifests: Sequence[Manifest]) -> None:
    """What scoring did, in a line of counts."""
    read = sum(manifest.read for manifest in manifests)
    scored = sum(manifest.scored for manifest in manifests)
    quarantined = sum(manifest.quarantined_total for manifest in manifests)
    flagged = sum(manifest.flagged for manifest in manifests)
    share = flagged / scored if scored else float("nan")
    versions = ", ".join(str(v) for v in sorted({manifest.version for manifest in manifests}))
    output.say(
        f"{len(manifests)} batches with version {versions}: "
        f"{read:,} read = {scored:,} scored + {quarantined:,} quarantined; "
        f"{flagged:,} flagged ({output.percent(share)}; {manifests[0].rule.words})."
    )
