"""One registered version of a model, as flowguard speaks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(frozen=True)
class Version:
    """A version in the registry: one sealed bundle and the run that made it.

    `digest` is the SHA-256 of the bundle's manifest, `created` is in UTC, `metrics` holds the last value of
    each metric of the run, `params` its parameters as text. `str(version)` is how people are told about it.

    >>> from datetime import UTC, datetime
    >>> print(Version("flights", 3, "run", ("champion",), "5eed" * 16, datetime(2013, 5, 1, tzinfo=UTC)))
    flights version 3 (champion)
    """

    name: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    digest: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """What MLflow's own commands call this version."""
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.name} version {self.version}{aliases}"
