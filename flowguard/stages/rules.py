"""Rules of a pipeline: made with a look at what they would have kept away, listed, revoked, and audited."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from flowguard.errors import InputError
from flowguard.review import Scope, scope_of
from flowguard.stages.flagged import Flagged, of_batch, strangeness, with_verdicts
from flowguard.stages.manifest import Manifest, latest
from flowguard.stages.progress import work
from flowguard.stages.pruned import at_hand
from flowguard.stages.suppressed import suppressed
from flowguard.stages.verdicts import user_here
from flowguard.stages.workspace import Workspace
from flowguard.store import LASTS, Decision, Rule

State = Literal["active", "expired", "revoked"]
LOOKED_AT = 30
"""So many of the last batches tell what a new rule would have kept away."""


@dataclass(frozen=True)
class Preview:
    """What a rule would have kept away of the last `batches`: `covered` of `flagged` records, by batch in `of`.

    `decided` counts the verdicts that stand on them; where some were confirmed, the rule hides anomalies.
    """

    scope: str
    batches: int
    flagged: int
    covered: int
    of: Mapping[str, int]
    decided: Mapping[Decision, int]
    strangest: tuple[Flagged, ...]


@dataclass(frozen=True)
class Made:
    """A rule that was stored, and what it would have kept away before."""

    rule: Rule
    preview: Preview


@dataclass(frozen=True)
class Listed:
    """A rule with its scope in words, and whether it still counts."""

    rule: Rule
    scope: str
    state: State


@dataclass(frozen=True)
class Kept:
    """What one rule kept away: `total` flagged records, by batch in `of`; `decided` as in `Preview`."""

    rule: Rule
    scope: str
    total: int
    of: Mapping[str, int]
    decided: Mapping[Decision, int]


@dataclass(frozen=True)
class Audit:
    """What the rules kept away of `flagged` records in `batches`: by rule, and the records, strangest first."""

    key: tuple[str, ...]
    batches: int
    flagged: int
    rules: tuple[Kept, ...]
    records: tuple[Flagged, ...] = field(default=())


def preview(pipeline: str | Path, scope: Scope, *, batches: int = LOOKED_AT) -> Preview:
    """What a rule of this scope would have kept away of the last scored batches. Nothing is stored.

    Raises `InputError` for columns that the pipeline does not have, or whose values must not be told.
    """
    workspace = Workspace.open(pipeline)
    _check(workspace, scope)
    return _preview(workspace, scope, batches)


def make(
    pipeline: str | Path,
    scope: Scope,
    *,
    why: str,
    who: str = "",
    lasts: timedelta = LASTS,
    until: datetime | None = None,
    batches: int = LOOKED_AT,
) -> Made:
    """Store a rule: of batches that are scored from now on, what it covers is flagged as ever, but not shown.

    It ends at `until`, or after it `lasts` so long. `who` is by default the user of this process. Raises `InputError`
    as `preview` does, and for a rule that cannot be kept: no word on why, or an end that is too far off.
    """
    workspace = Workspace.open(pipeline)
    _check(workspace, scope)
    # Before it is stored: who is refused has waited for nothing, and nothing was stored where looking failed.
    seen = _preview(workspace, scope, batches)
    now = datetime.now(UTC)
    new = Rule(workspace.pipeline.name, scope.document, why, who or user_here(), now, until or now + lasts)
    return Made(workspace.store.rules.put(new), seen)


def listed(pipeline: str | Path) -> tuple[Listed, ...]:
    """Every rule that was ever made, the newest first."""
    workspace = Workspace.open(pipeline)
    rules = workspace.store.rules.all(workspace.pipeline.name)
    return tuple(Listed(rule, scope_of(rule).words, state_of(rule)) for rule in reversed(rules))


def revoke(pipeline: str | Path, number: int, *, who: str = "") -> Listed:
    """End a rule now. What it kept away of batches that were scored while it counted stays so, until they are scored
    again.

    Raises `InputError` for a rule that there is not, or that has ended.
    """
    workspace = Workspace.open(pipeline)
    rule = workspace.store.rules.revoke(workspace.pipeline.name, number, who=who or user_here())
    return Listed(rule, scope_of(rule).words, state_of(rule))


def audit(pipeline: str | Path, *, rule: int | None = None, top: int | None = None) -> Audit:
    """Which flagged records of the scored batches each rule, or one, kept from being shown.

    Raises `InputError` for a rule that there is not.
    """
    workspace = Workspace.open(pipeline)
    rules = workspace.store.rules.all(workspace.pipeline.name)
    if rule is not None and rule not in {one.id for one in rules}:
        raise InputError(
            f"{workspace.pipeline.name} has no rule {rule}: "
            + (f"there are rules 1 to {len(rules)}." if rules else "there is none yet.")
        )
    scored = at_hand(latest(workspace.folder))
    found = _kept(workspace, list(scored.values()), rules)
    mine = [one for one in rules if rule in (None, one.id)]
    records = sorted((one for one in found if rule in (None, one.rule)), key=strangeness)
    return Audit(
        key=_key(workspace),
        batches=len(scored),
        flagged=sum(manifest.flagged for manifest in scored.values()),
        rules=tuple(
            Kept(one, scope_of(one).words, len(its), _by_batch(its), _decided(its))
            for one in mine
            for its in [[record for record in found if record.rule == one.id]]
        ),
        records=tuple(records if top is None else records[:top]),
    )


def state_of(rule: Rule, at: datetime | None = None) -> State:
    """Whether a rule counts for batches that are scored now, or `at` a moment."""
    if rule.active(at or datetime.now(UTC)):
        return "active"
    return "expired" if rule.revoked_at is None else "revoked"


def _preview(workspace: Workspace, scope: Scope, batches: int) -> Preview:
    scored = at_hand(latest(workspace.folder))
    last = [scored[name] for name in sorted(scored)[-batches:]] if batches > 0 else []
    always = Rule(
        workspace.pipeline.name,
        scope.document,
        "a look at what it would keep away",
        "nobody",
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    )
    found = _kept(workspace, last, [always])
    return Preview(
        scope=scope.words,
        batches=len(last),
        flagged=sum(manifest.flagged for manifest in last),
        covered=len(found),
        of=_by_batch(found),
        decided=_decided(found),
        strangest=tuple(sorted(found, key=strangeness)[:3]),
    )


def _kept(workspace: Workspace, manifests: Sequence[Manifest], rules: Sequence[Rule]) -> list[Flagged]:
    """The flagged records of these batches that rules keep away, with the rule and what was decided on them."""
    if not rules:
        return []
    key, found = _key(workspace), []
    with work("looking at flagged records", total=len(manifests)) as bar:
        for manifest in manifests:
            records = list(of_batch(workspace, manifest, key))
            kept = suppressed(workspace, manifest, records, rules)
            found += [replace(one, rule=kept[one.record_id]) for one in records if one.record_id in kept]
            bar.advance(1, manifest.batch)
    return with_verdicts(workspace, found)


def _key(workspace: Workspace) -> tuple[str, ...]:
    source = workspace.pipeline.source
    return tuple(name for name in source.key if name not in source.redact)


def _by_batch(records: Sequence[Flagged]) -> dict[str, int]:
    return dict(sorted(Counter(record.batch for record in records).items()))


def _decided(records: Sequence[Flagged]) -> dict[Decision, int]:
    return dict(Counter(record.verdict for record in records if record.verdict is not None))


def _check(workspace: Workspace, scope: Scope) -> None:
    """Refuse what could never hold, which would look like a rule and keep nothing away."""
    spec = workspace.resolved()
    with workspace.source() as source:
        there = source.schema().names
    for side in scope.columns:
        _known(side.column, list(spec.columns.features), "a feature", spec.name)
    for condition in scope.where:
        _known(condition.column, there, "a column", spec.name)
        if condition.column in spec.source.redact:
            raise InputError(f"{condition.column} is redacted: a rule would tell its values. Name another column.")


def _known(name: str, names: Sequence[str], what: str, pipeline: str) -> None:
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else f" It has {', '.join(names)}."
        raise InputError(f"{name!r} is not {what} of {pipeline}, so that no record would be in the rule's scope.{hint}")
