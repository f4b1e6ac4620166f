"""What the registry tells: the version that scores, how old it is, and whether another waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from flowguard.registry import CHALLENGER, CHAMPION, Version
from flowguard.stages.metrics.family import gauge, seconds
from flowguard.stages.workspace import Workspace


@dataclass(frozen=True)
class Registered:
    """The versions of a pipeline: how many there are, and those with an alias."""

    versions: int
    champion: Version | None
    challenger: Version | None


def registered(workspace: Workspace) -> Registered:
    """Read it; the registry is asked anew each time whether it answers."""
    versions = workspace.registry.versions(workspace.pipeline.name)
    holder = {alias: version for version in versions for alias in version.aliases}
    return Registered(len(versions), holder.get(CHAMPION), holder.get(CHALLENGER))


def families(found: Mapping[str, Registered]) -> Iterator[Metric]:
    """The families of these pipelines."""
    champions = {name: one.champion for name, one in found.items() if one.champion is not None}
    challengers = {name: one.challenger for name, one in found.items() if one.challenger is not None}
    yield gauge("versions", "Versions in the registry.", (([name], one.versions) for name, one in found.items()))
    for alias, holders in ((CHAMPION, champions), (CHALLENGER, challengers)):
        yield gauge(
            f"{alias}_info",
            f"The {alias}: its version, and the digest of its bundle.",
            (([name, str(one.version), one.digest], 1) for name, one in holders.items()),
            by=("pipeline", "version", "digest"),
        )
    yield gauge(
        "champion_created_timestamp_seconds",
        "When the champion was registered; time() minus it is its age.",
        (([name], seconds(one.created)) for name, one in champions.items()),
    )
    yield gauge(
        "champion_calibrated_to_timestamp_seconds",
        "The last day of the records that the champion was calibrated on, where they have days.",
        (([name], seconds(one.tags.get("calibrated_to"))) for name, one in champions.items()),
    )
