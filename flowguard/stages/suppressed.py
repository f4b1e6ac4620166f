"""Suppressed: which flagged records of a batch a rule keeps from being shown. Flags and files stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from flowguard.errors import SchemaError, SourceError
from flowguard.explain import Reason
from flowguard.review import first_covering, scope_of
from flowguard.stages.manifest import Manifest
from flowguard.stages.score import detector_of
from flowguard.stages.workspace import Workspace
from flowguard.store import Rule
from flowguard.tables import RecordIds


class Told(Protocol):
    """A flagged record: what a rule looks at."""

    @property
    def record_id(self) -> str: ...
    @property
    def key(self) -> Mapping[str, Any]: ...
    @property
    def reasons(self) -> Sequence[Reason]: ...


def suppressed(
    workspace: Workspace,
    manifest: Manifest,
    records: Iterable[Told],
    rules: Sequence[Rule],
    *,
    read: Callable[[str], Mapping[str, Any]] | None = None,
) -> dict[str, int]:
    """By record_id, the rule that keeps each of these flagged records of a batch from being shown.

    Rules count that were active when the batch was scored: what is shown of a past batch changes only if it is scored
    again. Their conditions are looked up in the source, where the key does not tell, or asked of `read` by record_id
    where the records were read already; of a record that the source no longer has they do not hold.
    """
    at, most = datetime.fromisoformat(manifest.started), workspace.pipeline.output.reasons
    rules = [rule for rule in rules if rule.active(at)]
    if not rules:
        return {}
    scopes = [scope_of(rule) for rule in rules]
    near = [one for one in records if any(scope.within(one.reasons, most=most) for scope in scopes)]
    asked = {condition.column for scope in scopes for condition in scope.where}
    values: dict[str, Mapping[str, Any]] = {one.record_id: one.key for one in near}
    if near and not asked <= set(near[0].key):
        found = _values(workspace, manifest, set(values), sorted(asked)) if read is None else {}
        look = read or (lambda record_id: found.get(record_id, {}))
        values = {record_id: {**key, **look(record_id)} for record_id, key in values.items()}
    kept = ((one.record_id, first_covering(rules, one.reasons, values[one.record_id], at, most=most)) for one in near)
    return {record_id: rule for record_id, rule in kept if rule is not None}


def suppressed_words(counts: Mapping[int, int]) -> str:
    """How many flagged records which rules keep away, in a sentence; "" for none.

    >>> suppressed_words({3: 10, 5: 2})
    '12 flagged records are not shown, by rules that say they are ordinary: 10 by rule 3, 2 by rule 5.'
    """
    total = sum(counts.values())
    if not total:
        return ""
    said = "1 flagged record is" if total == 1 else f"{total:,} flagged records are"
    each = ", ".join(f"{count:,} by rule {rule}" for rule, count in sorted(counts.items()) if count)
    return f"{said} not shown, by rules that say they are ordinary: {each}."


def _values(
    workspace: Workspace, manifest: Manifest, wanted: set[str], columns: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """By record_id, the columns of the wanted records as the source has them; streamed."""
    key = workspace.pipeline.source.key
    found: dict[str, dict[str, Any]] = {}
    try:
        with workspace.source() as source:
            known = [name for name in columns if name in source.schema().names]
            whole = key
            if not key:
                # Without a key a record is known by its content, as it was read when it was scored.
                version = workspace.registry.resolve(workspace.pipeline.name, manifest.version)
                whole = tuple(detector_of(workspace, version).columns)
            ids = RecordIds(whole)
            ids_of = pa.array(sorted(wanted))
            for chunk in source.read(list(dict.fromkeys([*whole, *known])), batch=manifest.batch):
                here = pa.array(ids.update(chunk), pa.string())
                mine = pc.is_in(here, value_set=ids_of)
                rows = chunk.select(known).filter(mine).to_pylist()
                found.update(zip(here.filter(mine).to_pylist(), rows, strict=True))
    except (SourceError, SchemaError):
        return found
    return found
