"""What was scored: which manifests count, which records match, what a version said of one, and what if none does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flowguard.errors import InputError
from flowguard.stages.lookup import Asked, Found, find, find_near
from flowguard.stages.manifest import Manifest, latest, manifests
from flowguard.stages.progress import work
from flowguard.stages.pruned import at_hand, left_out_words, refuse_pruned
from flowguard.stages.workspace import Workspace

State = Literal["flagged", "ordinary", "quarantined"]


@dataclass(frozen=True)
class Outcome:
    """What one version said of a record; numbers are None where it was quarantined, for the reason `refused`."""

    record_id: str
    key: dict[str, Any]
    batch: str
    version: int
    scored_at: str
    state: State
    score: float | None
    p_value: float | None
    refused: str | None


@dataclass(frozen=True)
class Search:
    """The first records that match, of `total`, in the batches `scored` whose word counts; `every` is all manifests.

    `shown` are the key columns that may be shown.
    """

    found: list[Found]
    total: int
    scored: dict[str, Manifest]
    every: list[Manifest]
    shown: tuple[str, ...]


def search(
    workspace: Workspace, key: str, file: str, *, batch: str | None, version: str | int | None, most: int
) -> Search:
    """Look the records up that `key` names, in every scored batch or in one; `file` is how the user calls the pipeline.

    Raises `InputError` when none matches: it says what was scored and what comes near.
    """
    source = workspace.pipeline.source
    asked = Asked.parse(key, source.key)
    shown = tuple(name for name in source.key if name not in source.redact)
    every = list(manifests(workspace.folder))
    scored = chosen(workspace, every, file, batch=batch, version=version)
    found: list[Found] = []
    total = 0
    with work("looking the record up", total=len(scored)) as bar:
        for manifest in scored.values():
            here, count = find(workspace, asked, manifest, most=most - len(found))
            found, total = found + here, total + count
            bar.advance(1, manifest.batch)
    if not found:
        told = left_out_words({} if batch else latest(workspace.folder))
        raise InputError(" ".join(filter(None, [unknown(workspace, asked, scored, shown, file), told])))
    return Search(found, total, scored, every, shown)


def chosen(
    workspace: Workspace, every: Sequence[Manifest], file: str, *, batch: str | None, version: str | int | None
) -> dict[str, Manifest]:
    """For every batch, or the one named, the manifest whose word counts; `InputError` where there is none."""
    name = workspace.pipeline.name
    if version is None:
        scored = latest(workspace.folder)
    else:
        number = int(version) if str(version).isdigit() else workspace.registry.resolve(name, version).version
        scored = {manifest.batch: manifest for manifest in every if manifest.version == number}
    refuse_pruned(scored, batch, file)
    scored = at_hand(scored)
    if batch is not None and batch in scored:
        return {batch: scored[batch]}
    if scored and batch is None:
        return scored
    what = f"batch {batch!r}" if batch is not None else "no batch"
    by = "" if version is None else f" by version {version}"
    versions = sorted({manifest.version for manifest in every if batch in (None, manifest.batch)})
    hint = f"; version {' and '.join(map(str, versions))} scored it" if versions and version is not None else ""
    if scored:
        hint = f"{hint}; {_span(scored)}"
    raise InputError(
        f"{name}: {what} has {'not ' if batch is not None else ''}been scored{by} yet{hint}. "
        f"Run `flowguard score {file}{f' --batch {batch}' if batch else ''}`."
    )


def _span(scored: dict[str, Manifest]) -> str:
    names = sorted(scored)
    if len(names) == 1:
        return f"one batch was scored, {names[0]}"
    return f"{len(names)} batches were scored, {names[0]} to {names[-1]}"


def unknown(workspace: Workspace, asked: Asked, scored: dict[str, Manifest], shown: tuple[str, ...], file: str) -> str:
    """What to say where no record matches: what was scored, and what comes near."""
    spec = workspace.pipeline
    newest_first = [scored[name] for name in sorted(scored, reverse=True)]
    hidden = [name for name in asked.columns if name in spec.source.redact]
    # What comes near would tell the values of redacted columns by and by.
    near = [] if hidden else find_near(workspace, asked, newest_first, most=3)
    told = "; ".join(
        ", ".join(f"{name}={value}" for name, value in outcome_of(one, shown).key.items())
        + ("" if one.manifest.batch in map(str, one.row.values()) else f" (batch {one.manifest.batch})")
        for one in near
    )
    key = f"The key columns are {', '.join(spec.source.key)}" if spec.source.key else "Records have no key here"
    return (
        f"{spec.name}: no scored record has {asked.shown(spec.source.redact)}; {_span(scored)}. "
        + (f"All but one column agree in: {told}. " if told else "")
        + f"{key}; part of a key lists what there is. "
        f"What is not scored yet has no answer: run `flowguard score {file}` first."
    )


def said_by_others(
    workspace: Workspace, one: Found, every: Sequence[Manifest], shown: tuple[str, ...]
) -> tuple[Outcome, ...]:
    """What other versions said of the same record, newest version first."""
    same = [
        manifest
        for manifest in every
        if manifest.batch == one.manifest.batch and manifest.version != one.manifest.version
    ]
    asked = Asked(one.record_id, {})
    newest_first = sorted(same, key=lambda manifest: -manifest.version)
    found = [other for manifest in newest_first for other in find(workspace, asked, manifest, most=1)[0]]
    return tuple(outcome_of(other, shown) for other in found)


def outcome_of(one: Found, shown: tuple[str, ...]) -> Outcome:
    """What the files say of a record; `shown` are the key columns that may be."""
    row = one.row
    flagged: State = "flagged" if row.get("flag") else "ordinary"
    return Outcome(
        record_id=one.record_id,
        key={name: row.get(name) for name in shown},
        batch=one.manifest.batch,
        version=one.manifest.version,
        scored_at=one.manifest.started,
        state="quarantined" if one.quarantined else flagged,
        score=row.get("score"),
        p_value=row.get("p_value"),
        refused=row.get("reason") if one.quarantined else None,
    )


def sentence_of(outcome: Outcome, manifest: Manifest, *, again: str) -> str:
    """Why it was or was not flagged, in a sentence; `again` is the command that scores its batch again."""
    if outcome.state == "quarantined":
        return f"It was quarantined and has no score: {outcome.refused}. Correct it in the source and run `{again}`."
    assert outcome.p_value is not None
    if outcome.state == "flagged":
        return f"Its p_value is {outcome.p_value:.2g}, and at {manifest.level:.2g} or below records were flagged."
    if not manifest.level:
        return f"Its p_value is {outcome.p_value:.2g}, and no record of its batch was flagged." + (
            f" {manifest.note}" if manifest.note else ""
        )
    if outcome.p_value <= manifest.level:
        return f"Its p_value of {outcome.p_value:.2g} is that of the last one flagged, and the policy's count was full."
    return f"Its p_value is {outcome.p_value:.2g}, and only at {manifest.level:.2g} or below records were flagged."
