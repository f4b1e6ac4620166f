"""Versions and aliases: what is registered, and which version scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flowguard.registry import Registry, Version


@dataclass(frozen=True)
class Promoted:
    """The new champion and the one before it."""

    champion: Version
    before: int | None


def models(runs: Path, name: str | None = None) -> list[Version]:
    """The registered versions of one model or of all, newest first."""
    return Registry.at(runs).versions(name)


def promote(runs: Path, name: str, version: int) -> Promoted:
    """Make `version` the champion: from the next batch on it scores. Raises `RegistryError` when there is none such."""
    registry = Registry.at(runs)
    before = registry.promote(name, version)
    return Promoted(registry.resolve(name, version), before)
