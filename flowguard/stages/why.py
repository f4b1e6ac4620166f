"""Why a record was flagged or not, as of the time it was scored: its numbers, its reasons, and its counterparts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowguard.explain import Reason
from flowguard.stages.flagged import of_batch
from flowguard.stages.lookup import Found
from flowguard.stages.manifest import Manifest
from flowguard.stages.outcome import Outcome, chosen, outcome_of, said_by_others, search, sentence_of
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace
from flowguard.store import Verdict

if TYPE_CHECKING:
    from flowguard.stages.counterparts import Alike, Ordinary
    from flowguard.stages.reread import Origin

LISTED = 20
"""So many records are listed where several match."""


@dataclass(frozen=True)
class Why:
    """All there is to say of one record.

    `level` is the p-value at or below which its batch was flagged, `threshold` the score above which its cell is, where
    the policy has one; `place` counts from the strangest of `of` records. `written`: the reasons are those that were
    written when it was scored, else they were found now with the same version. `origin` says what became of the record
    in the source, of which `values` are read; `notes` are sentences on what could not be said. `verdicts` are all
    entries of what people decided on it, the first one first.
    """

    outcome: Outcome
    sentence: str
    bundle: str
    score_name: str
    policy: str
    level: float
    threshold: float | None
    guarantee: str
    cell: str | None
    cell_size: int | None
    calibrated: tuple[str, ...]
    extrapolated: bool
    log_likelihood: float | None
    log_mass: float | None
    log_density: float | None
    place: int | None
    of: int
    reasons: tuple[Reason, ...]
    written: bool
    origin: Origin
    notes: tuple[str, ...]
    values: dict[str, Any]
    units: dict[str, str]
    ordinary: tuple[Ordinary, ...]
    alike: tuple[Alike, ...]
    others: tuple[Outcome, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Answer:
    """Why of the one record that matched; of several there is none, and `matches` lists the first of `total`."""

    key: tuple[str, ...]
    record: Why | None
    matches: tuple[Outcome, ...] = ()
    total: int = 0


def why(
    pipeline: str | Path,
    key: str,
    *,
    batch: str | None = None,
    version: str | int | None = None,
    near: int = 3,
    top: int | None = None,
) -> Answer:
    """What is known of the record that `key` names: its record_id, or `column=value,..` of its key columns.

    Of a batch that several versions scored the latest one's word counts, unless `version` is named. `near` is how many
    counterparts of each kind are looked for; with 0 the source is read only for reasons that were not written. `top`
    is how many reasons are found now, by default as many as scoring writes.

    Raises `InputError` when nothing that was scored matches: it says what was scored and what comes near.
    """
    workspace = Workspace.open(pipeline)
    searched = search(workspace, key, str(pipeline), batch=batch, version=version, most=LISTED)
    shown, found = searched.shown, searched.found
    if searched.total > 1:
        return Answer(shown, None, tuple(outcome_of(one, shown) for one in found), searched.total)
    (one,) = found
    others = said_by_others(workspace, one, searched.every, shown)
    scored = searched.scored
    if batch is not None:
        scored = chosen(workspace, searched.every, str(pipeline), batch=None, version=version)
    again = f"flowguard score {pipeline} --batch {one.manifest.batch}"
    return Answer(shown, _explained(workspace, one, scored, others, shown, again, near=near, top=top), total=1)


def _explained(
    workspace: Workspace,
    one: Found,
    scored: dict[str, Manifest],
    others: tuple[Outcome, ...],
    shown: tuple[str, ...],
    again: str,
    *,
    near: int,
    top: int | None,
) -> Why:
    # The density is loaded once there is a record to explain: to look one up takes a second without.
    from flowguard.stages import counterparts, reread

    spec, manifest, row = workspace.pipeline, one.manifest, one.row
    outcome = outcome_of(one, shown)
    notes: list[str] = []
    detector = reread.detector_then(workspace, manifest, notes)
    neighbours = counterparts.around(scored, manifest.batch, version=manifest.version)
    reasons: tuple[Reason, ...] = ()
    if outcome.state == "flagged":
        mine = (record for record in of_batch(workspace, manifest, shown) if record.record_id == outcome.record_id)
        reasons = next((record.reasons for record in mine), ())
    written = bool(reasons)
    drawn = counterparts.Drawn()
    ordinary: tuple[Ordinary, ...] = ()
    origin: Origin = "not looked at"
    if detector is not None and (near or not written):
        compared = bool(near) and outcome.state != "quarantined"
        with work("reading the record's batch again") as bar:
            drawn, origin = reread.drawn_again(
                workspace, detector, one, neighbours, ordinary=compared, again=again, notes=notes
            )
            bar.advance(1, manifest.batch)
    if detector is not None and drawn.one is not None and outcome.state != "quarantined":
        if not written:
            reasons = reread.reasons_now(detector, drawn.one, outcome.record_id, top or spec.output.reasons)
        if near:
            ordinary = counterparts.nearest_ordinary(detector, drawn, key=shown, redact=spec.source.redact, count=near)
    alike: tuple[Alike, ...] = ()
    # Of what is ordinary, the reasons are no oddity that a flagged record could share.
    if near and reasons and outcome.p_value is not None and outcome.p_value <= counterparts.ORDINARY:
        everywhere = [manifest, *neighbours]
        alike = counterparts.flagged_alike(workspace, reasons, everywhere, key=shown, but=outcome.record_id, count=near)
    values: dict[str, Any] = {}
    if drawn.one is not None and detector is not None:
        values = counterparts.values_of(drawn.one, counterparts.shown_entries(detector, spec.source.redact))
    return Why(
        outcome=outcome,
        sentence=sentence_of(outcome, manifest, again=again),
        bundle=manifest.bundle,
        score_name=manifest.score,
        policy=manifest.rule.words,
        level=manifest.level,
        threshold=reread.threshold_then(manifest, detector, row.get("group")),
        guarantee=manifest.guarantee,
        cell=row.get("group"),
        cell_size=reread.cell_size(manifest, detector, row.get("group")),
        calibrated=tuple(manifest.calibrated or ()),
        extrapolated=bool(row.get("extrapolated", False)),
        log_likelihood=row.get("log_likelihood"),
        log_mass=row.get("log_mass"),
        log_density=row.get("log_density"),
        place=None if outcome.score is None else 1 + counterparts.strangest_before(workspace, manifest, outcome.score),
        of=manifest.scored,
        reasons=reasons,
        written=written,
        origin=origin,
        notes=tuple(notes),
        values=values,
        units={} if detector is None else dict(detector.units),
        ordinary=ordinary,
        alike=alike,
        others=others,
        verdicts=tuple(workspace.store.verdicts.history(spec.name, outcome.record_id)),
    )
