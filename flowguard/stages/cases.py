"""Cases: flagged records of the scored batches, grouped by their common cause, the heaviest first."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.explain.cases import Case, Member, find_cases
from flowguard.stages.flagged import Flagged, of_batch, strangeness, with_rules
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.pruned import at_hand, refuse_pruned
from flowguard.stages.score import detector_of
from flowguard.stages.surroundings import Surroundings, surroundings
from flowguard.stages.workspace import Workspace
from flowguard.tables import Source

#: Of more flagged records only the strangest are grouped: what is held in memory is bounded.
GROUPED = 100_000


@dataclass(frozen=True)
class Cases:
    """The cases of `total` flagged records, of which the strangest were grouped; `key` names the columns shown.

    `suppressed` says of each rule how many of `total` it keeps from being shown: these are in no case.
    """

    key: tuple[str, ...]
    total: int
    cases: tuple[Case, ...]
    records: Mapping[Member, Flagged]
    surroundings: Surroundings
    suppressed: Mapping[int, int] = field(default_factory=dict)

    @property
    def grouped(self) -> int:
        """Records that are in a case."""
        return len(self.records)

    def find(self, case_id: str) -> Case:
        """The case of this id. Raises `InputError` when there is none."""
        for case in self.cases:
            if case.id == case_id:
                return case
        raise InputError(
            f"There is no case {case_id!r} among the {len(self.cases):,} of these batches. "
            "`flowguard cases FILE --json` lists every id."
        )

    def name(self, member: Member) -> str:
        """What a record is called: the values of its key, or its id."""
        return " ".join(str(value) for value in self.records[member].key.values()) or member.record_id

    def row(self, case: Case) -> dict[str, Any]:
        """A case as one plain row, with its records."""
        return {
            "id": case.id,
            "title": case.title,
            "columns": list(case.columns),
            "directions": list(case.directions),
            "context": list(case.context),
            "context_share": case.context_share,
            "weight": case.weight,
            "first": case.first,
            "last": case.last,
            "batches": case.batches,
            "size": len(case.records),
            "records": [
                {**self.records[member].key, "batch": member.batch, "record_id": member.record_id}
                for member in case.records
            ],
        }

    def rows(self) -> list[dict[str, Any]]:
        """The cases as plain rows."""
        return [self.row(case) for case in self.cases]


def cases(pipeline: str | Path, *, batch: str | None = None, since: date | None = None) -> Cases:
    """The cases of every scored batch, of one, or of those from a day on.

    Raises `InputError` when `batch` has not been scored, or when nothing was.
    """
    workspace = Workspace.open(pipeline)
    scored = latest(workspace.folder)
    if not scored or (batch is not None and batch not in scored):
        what = f"batch {batch!r} has not" if batch is not None else "no batch has"
        raise InputError(
            f"{workspace.pipeline.name}: {what} been scored yet. "
            f"Run `flowguard score {pipeline}{f' --batch {batch}' if batch is not None else ''}` first."
        )
    refuse_pruned(scored, batch, pipeline)
    scored = at_hand(scored)
    with workspace.source() as source:
        if batch is not None:
            scored = {batch: scored[batch]}
        elif since is not None:
            scored = {name: manifest for name, manifest in scored.items() if name in _since(workspace, source, since)}
        return cases_of(workspace, source, scored, by_rules=True)


def cases_of(
    workspace: Workspace,
    source: Source,
    scored: Mapping[str, Manifest],
    detectors: Mapping[int, Detector] | None = None,
    *,
    also: Mapping[str, Collection[str]] | None = None,
    by_rules: bool = False,
) -> Cases:
    """The cases of these batches; `detectors` are the versions that scored them, loaded where they are not given.

    `also` are, by batch, ids of further records that are to be read with the flagged ones. With `by_rules` those that a
    rule keeps from being shown are counted and left out.
    """
    spec = workspace.pipeline
    key = tuple(name for name in spec.source.key if name not in spec.source.redact)
    rules = workspace.store.rules.all(spec.name) if by_rules else ()
    counts: Counter[int] = Counter()
    every = (
        record
        for manifest in scored.values()
        for record in with_rules(workspace, manifest, of_batch(workspace, manifest, key), rules, counts)
        if record.rule is None
    )
    records = heapq.nsmallest(GROUPED, every, key=strangeness)
    if detectors is None:
        versions = {scored[record.batch].version for record in records}
        detectors = {one: detector_of(workspace, workspace.registry.resolve(spec.name, one)) for one in versions}
    columns = detectors[max(detectors)].encoder.feature_names if detectors else ()
    found = surroundings(source, spec.source.key, scored, detectors, records, redact=spec.source.redact, also=also)
    return Cases(
        key=key,
        total=sum(manifest.flagged for manifest in scored.values()),
        cases=tuple(find_cases(records, found.settings, order=columns, redact=spec.source.redact)),
        records={Member(record.batch, record.record_id): record for record in records},
        surroundings=found,
        suppressed=dict(sorted(counts.items())),
    )


def _since(workspace: Workspace, source: Source, since: date) -> set[str]:
    return {found.name for found in source.batches(since=since)}
