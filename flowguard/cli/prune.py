"""Remove what is old, as `retention` in the pipeline file says; what a version or a verdict refers to stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from flowguard.cli import output

if TYPE_CHECKING:
    from flowguard.stages.prune import Going, Staying

One = TypeVar("One", "Going", "Staying")
EXAMPLE = "flowguard prune pipelines/flights.yaml --dry-run"
_UNITS = {10**3: "kB", 10**6: "MB", 10**9: "GB", 10**12: "TB"}
WORDS = {
    "scores": "scores",
    "queue": "out of the queue",
    "version": "versions",
    "bundle": "fetched copies of versions",
    "page": "pages",
    "leftover": "leftovers",
}


def command(
    file: Path = output.PIPELINE,
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would go, and remove nothing."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages.prune import prune

    with output.reporting(as_json):
        done = prune(file, dry_run=dry_run)

    def tell() -> None:
        if not done.retention:
            output.say(f"{done.pipeline} keeps everything: its file has no `retention`.")
            return
        if done.removed:
            rows = [
                [WORDS[kind], len(of), names(of), why, sum(one.files for one in of), size(sum(one.bytes for one in of))]
                for (kind, why), of in grouped(done.removed).items()
            ]
            columns = ["what", "number", "which", "by", "files", "bytes"]
            output.table("Would go" if dry_run else "Removed", columns, rows, right=("number", "files", "bytes"))
        if done.stays:
            rows = [[WORDS[kind], len(of), names(of), why] for (kind, why), of in grouped(done.stays).items()]
            output.table("Stays although it is old", ["what", "number", "which", "why"], rows, right=("number",))
        rules = ", ".join(f"{key}: {value}" for key, value in done.retention.items())
        would = "would be " if dry_run else ""
        output.say(
            f"{done.files:,} files of {size(done.bytes)} {would}removed ({rules})."
            if done.removed
            else f"Nothing is old that may go ({rules})."
        )
        if done.undecided:
            which = "1 flagged record that" if done.undecided == 1 else f"{done.undecided:,} flagged records that"
            output.say(f"{which} nobody decided on {'would leave' if dry_run else 'left'} the queue.")
        if dry_run and done.removed:
            output.next_commands(f"flowguard prune {file}")

    output.emit(done, as_json, tell)


def grouped(items: Iterable[One]) -> dict[tuple[str, str], list[One]]:
    """By what they are and why."""
    found: dict[tuple[str, str], list[One]] = defaultdict(list)
    for one in items:
        found[one.kind, one.why].append(one)
    return found


def names(items: Sequence[Going] | Sequence[Staying]) -> str:
    """Those of a few, the first and last of more."""
    several = len({one.version for one in items}) > 1
    found = [f"{one.name} (version {one.version})" if several and one.kind == "scores" else one.name for one in items]
    return ", ".join(found) if len(found) <= 3 else f"{found[0]} to {found[-1]}"


def size(count: int) -> str:
    """Bytes as people read them.

    >>> size(800), size(1_250_000)
    ('800 B', '1.2 MB')
    """
    unit = next((unit for unit in (10**12, 10**9, 10**6, 10**3) if count >= unit), 1)
    return f"{count} B" if unit == 1 else f"{count / unit:.1f} {_UNITS[unit]}"
