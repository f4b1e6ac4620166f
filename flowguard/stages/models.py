"""Versions and aliases: what is registered, which version scores, and who decided so."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowguard.errors import GateError
from flowguard.registry import CHALLENGER, CHAMPION, Registry, Version
from flowguard.review import Quality, quality
from flowguard.stages.gate.check import recorded, sentences
from flowguard.stages.workspace import store_in
from flowguard.store import Change, Store

OUTSIDE = "found changed outside flowguard"


@dataclass(frozen=True)
class Promoted:
    """The new champion and the one before it."""

    champion: Version
    before: int | None


def models(runs: Path, name: str | None = None) -> list[Version]:
    """The registered versions of one model or of all, newest first."""
    return Registry.at(runs).versions(name)


def journal(runs: Path, name: str) -> Sequence[Change]:
    """Every change of the model's champion and challenger, in order."""
    return store_in(runs).aliases.of(name)


def reviewed(runs: Path, name: str) -> dict[int, Quality]:
    """By version, what the verdicts say of it; versions that nobody judged a record of are not there."""
    return qualities(store_in(runs), name)


def qualities(store: Store, name: str) -> dict[int, Quality]:
    """What all verdicts on records of `name` say of each version that they were given on, newest version first."""
    histories = store.verdicts.histories(name)
    versions = {entry.version for history in histories.values() for entry in history}
    batches = store.batches.of(name) if versions else []
    return {version: quality(version, histories, batches) for version in sorted(versions, reverse=True)}


def promote(
    runs: Path,
    name: str,
    version: int,
    *,
    who: str = "",
    why: str = "",
    expected: int | None = None,
    despite_gate: bool = False,
) -> Promoted:
    """Make `version` the champion: from the next batch on it scores; who did it and why goes to the journal.

    `expected` is the champion that is to be replaced, by default the present one. A version whose gate failed is
    promoted `despite_gate` alone, for a reason that the journal keeps. Raises `GateError` where that is missing,
    `RegistryError` when there is no such version, and `StoreError` when another promotion came first: it names who
    made it.
    """
    registry, store = Registry.at(runs), store_in(runs)
    found = registry.resolve(name, version)
    before = holder(registry, name, CHAMPION)
    if before == version:
        return Promoted(found, before)
    why = _excused(found, why, despite_gate)
    note_outside(store, name, CHAMPION, before)
    challenger = holder(registry, name, CHALLENGER)
    who, why = who or getpass.getuser(), why or "promoted"
    expected = before if expected is None else expected
    store.aliases.record(name, CHAMPION, expected_from=expected, to=version, who=who, why=why)
    registry.promote(name, version)
    if challenger == version:
        note_outside(store, name, CHALLENGER, challenger)
        store.aliases.record(name, CHALLENGER, expected_from=version, to=None, who=who, why=why)
    return Promoted(registry.resolve(name, version), before)


def _excused(version: Version, why: str, despite_gate: bool) -> str:
    """What the journal says of why; a gate that failed has to be overruled, for a reason."""
    known = recorded(version.tags)
    if known is None or known.outcome != "failed":
        return why
    against = f" against version {known.champion}" if known.champion is not None else ""
    said = f"The gate of {version} failed{against}: {sentences(known.checks)}"
    if not despite_gate:
        raise GateError(
            f"{said} It was not promoted. Train a better one, or promote it all the same, for a reason that the "
            f"journal keeps: `flowguard promote {version.name} {version.version} --despite-gate --why REASON`."
        )
    if not why.strip():
        raise GateError(f"{said} To promote it despite that, say why: the journal keeps the reason.")
    return f"{why} (despite the gate: {', '.join(known.failed)})"


def holder(registry: Registry, name: str, alias: str) -> int | None:
    """The number of the version that has `alias`, None where none has."""
    return next((one.version for one in registry.versions(name) if alias in one.aliases), None)


def note_outside(store: Store, name: str, alias: str, now: int | None) -> None:
    """Bring the journal to what the registry says, where an alias was moved without flowguard or a run was killed."""
    known = store.aliases.latest(name, alias)
    if known is not None and known.to_version != now:
        store.aliases.record(name, alias, expected_from=known.to_version, to=now, who="unknown", why=OUTSIDE)
