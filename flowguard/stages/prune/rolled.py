"""Which scored days the next batches are still ranked among, where the calibration of a version rolls."""

from __future__ import annotations

from functools import cached_property

from flowguard.errors import RegistryError, SourceError
from flowguard.stages.manifest import Manifest
from flowguard.stages.prune.found import Asked
from flowguard.stages.rolling import number_of, reach
from flowguard.stages.score import detector_of


class Rolls:
    """Looked up once it is asked for: most pipelines rank no batch by age, and no model is loaded for them."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._reaches: dict[int, tuple[str, list[range]]] = {}

    def need(self, manifest: Manifest) -> str:
        """Why the scores of a batch are needed, "" where they are not."""
        number = number_of(manifest.batch)
        if manifest.reference is None or number is None:
            return ""
        if self._days is None:
            return "the source cannot be read: batches that wait there may be ranked among its records"
        digest, reaches = self._of(manifest.version)
        if digest == manifest.bundle and any(number in one for one in reaches):
            return f"the rolling calibration of version {manifest.version} needs it"
        return ""

    def _of(self, version: int) -> tuple[str, list[range]]:
        """The digest of a version and the days that each batch to come is ranked among; none for one that is gone."""
        if version not in self._reaches:
            workspace = self._asked.workspace
            try:
                found = workspace.registry.resolve(self._asked.name, version)
                detector = detector_of(workspace, found)
                self._reaches[version] = found.digest, [reach(detector, day) for day in self._days or ()]
            except RegistryError:
                self._reaches[version] = "", []
        return self._reaches[version]

    @cached_property
    def _days(self) -> list[int] | None:
        """The days of batches to come: those that wait in the source, and the day after the newest scored one."""
        known = {manifest.batch for manifest in self._asked.manifests}
        try:
            with self._asked.workspace.source() as source:
                waiting = [batch.name for batch in source.batches() if batch.name not in known]
        except SourceError:
            return None
        numbers = [number for name in waiting if (number := number_of(name)) is not None]
        scored = [number for name in known if (number := number_of(name)) is not None]
        return sorted({*numbers, *([max(scored) + 1] if scored else [])})
