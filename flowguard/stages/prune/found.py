"""What a pruning found: what goes, what stays although it is old, and how what goes is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from flowguard.spec.retention import RetentionSection
from flowguard.stages.manifest import Manifest
from flowguard.stages.workspace import Workspace

Kind = Literal["scores", "queue", "version", "bundle", "page", "leftover"]
"""Of a batch its files or its place in the queue; a version, a fetched copy of one; a page; what a killed run left."""


@dataclass(frozen=True)
class Going:
    """What goes, by which rule; `undecided` are the flagged records in the queue that nobody decided on.

    `name` is that of a batch, a version, a page or a file; `version` the number, where there is one.
    """

    kind: Kind
    name: str
    why: str
    version: int | None = None
    files: int = 0
    bytes: int = 0
    undecided: int = 0


@dataclass(frozen=True)
class Staying:
    """What stays although it is old, and what refers to it."""

    kind: Kind
    name: str
    why: str
    version: int | None = None


class Step(NamedTuple):
    """What goes and how it is taken; `take` returns False where it is no longer as it was found, and leaves it."""

    going: Going
    take: Callable[[], bool]


class Found(NamedTuple):
    """What one rule finds."""

    steps: list[Step]
    stays: list[Staying]


@dataclass(frozen=True)
class Asked:
    """One pruning: of this pipeline, at this moment, with all its manifests as they were read then."""

    workspace: Workspace
    now: datetime
    manifests: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.workspace.pipeline.name

    @property
    def retention(self) -> RetentionSection:
        """What its file says."""
        return self.workspace.pipeline.retention

    def old(self, moment: datetime, days: int) -> bool:
        """Whether something of this moment is more than so many days old."""
        return (self.now - moment).total_seconds() > days * 86_400
