"""The hold-out of a version, scored by it and, where the champion does not know a record either, by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from flowguard.detector import Detector
from flowguard.errors import SchemaError
from flowguard.stages.deal import time_of
from flowguard.stages.dealing import Dealing
from flowguard.stages.exclude import Exclusion
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace
from flowguard.tables import Fingerprint, record_ids, unit_of

Array = np.ndarray


@dataclass(frozen=True)
class Said:
    """What one version says of n records; NaN and "" where it could not score one."""

    log_likelihood: Array
    score: Array
    p_value: Array
    group: Array

    @classmethod
    def join(cls, parts: Sequence[Said]) -> Said:
        """All of them, in order."""
        none = np.zeros(0)
        likelihood, score, p_value = (
            np.concatenate([none, *(getattr(one, name) for one in parts)])
            for name in ("log_likelihood", "score", "p_value")
        )
        group = np.concatenate([none.astype(str), *(one.group for one in parts)])
        return cls(likelihood, score, p_value, group)

    def __len__(self) -> int:
        return len(self.score)

    @property
    def scored(self) -> Array:
        """Which records it could score, (n,)."""
        return ~np.isnan(self.score)


@dataclass(frozen=True)
class HeldOut:
    """The hold-out of a version: n records, and the `unit` (day, entity) that each belongs to.

    `old` is what the champion says of those that are `common`, records that it does not know either; None where it
    cannot be compared, and `why` says so. `nowhere` of them have a likelihood under the version that is no number.
    `fingerprint` is that of all records of the period.
    """

    unit: Array
    new: Said
    old: Said | None
    common: Array
    nowhere: int
    fingerprint: str
    why: str = ""

    @property
    def both(self) -> Array:
        """Which of the common records both versions could score, as a mask of the common ones."""
        return self.new.scored[self.common] & self.old.scored if self.old is not None else np.zeros(0, dtype=bool)


@dataclass
class _Opponent:
    """The champion as long as it can read what is there; afterwards `why` says what it could not."""

    detector: Detector | None
    dealing: Dealing | None = None
    why: str = ""
    said: list[Said] = field(default_factory=list)

    @classmethod
    def of(cls, detector: Detector | None, schema: pa.Schema) -> _Opponent:
        if detector is None:
            return cls(None)
        dealing = Dealing.of(detector)
        missing = sorted({*detector.columns, *dealing.unit} - set(schema.names))
        if missing:
            return cls(None, why=f"the champion reads the column {missing[0]}, which the data no longer has")
        return cls(detector, dealing)

    @property
    def columns(self) -> list[str]:
        return [*self.detector.columns, *self.dealing.unit] if self.detector and self.dealing else []

    def look(self, chunk: pa.RecordBatch, time: str | None, key: Sequence[str]) -> Array:
        """Score those of the records that it does not know, and say which these are."""
        if self.detector is None or self.dealing is None:
            return np.zeros(chunk.num_rows, dtype=bool)
        mask = self.dealing.unknown(chunk, time)
        try:
            self.said.append(said_of(self.detector, chunk.filter(pa.array(mask)), key)[0])
        except SchemaError as error:
            self.detector, self.why = None, f"the champion cannot read the data any more: {error}"
        return mask


def evaluate(workspace: Workspace, detector: Detector, champion: Detector | None) -> HeldOut:
    """Read the period that `detector` was made of once, and score its hold-out; nothing of it is written.

    Records that people confirmed as anomalies are left out, as they were when the version was made. Memory: some
    hundred bytes for each record of the hold-out.
    """
    spec, source, dealing = workspace.pipeline, workspace.source(), Dealing.of(detector)
    opponent = _Opponent.of(champion, source.schema())
    time, key = spec.source.time, spec.source.key
    exclusion = Exclusion.of(workspace, list(detector.columns))
    # What was read when it was made: equal fingerprints are equal data.
    then = [*detector.columns, *dealing.unit]
    known = time if dealing.recalibrated else time_of(spec)
    then = list(dict.fromkeys([*then, *([known] if known else [])]))
    read = list(dict.fromkeys([*then, *exclusion.columns, *key, *opponent.columns, *([time] if time else [])]))
    fingerprint, units, said, common = Fingerprint(), [np.zeros(0, dtype=np.uint64)], [], [np.zeros(0, dtype=bool)]
    nowhere = 0
    since, until = dealing.period
    with work("evaluating the gate on held-out records") as bar:
        for chunk in source.read(read, since=since, until=until, exclude=spec.exclude):
            fingerprint.update(chunk.select(then))
            mine = chunk.filter(pa.array(dealing.held_out(chunk, time) & ~exclusion.mask(chunk)))
            if not mine.num_rows:
                continue
            found, odd = said_of(detector, mine, key)
            nowhere += odd
            said.append(found)
            units.append(unit_of(mine, unit=dealing.unit))
            common.append(opponent.look(mine, time, key))
            bar.advance(mine.num_rows)
    new = Said.join(said)
    if opponent.detector is None:
        return HeldOut(
            np.concatenate(units), new, None, np.zeros(len(new), bool), nowhere, fingerprint.hexdigest(), opponent.why
        )
    old = Said.join(opponent.said)
    return HeldOut(np.concatenate(units), new, old, np.concatenate(common), nowhere, fingerprint.hexdigest())


def said_of(detector: Detector, chunk: pa.RecordBatch, key: Sequence[str]) -> tuple[Said, int]:
    """What a version says of some records, and of how many that it can read the likelihood is no number."""
    calibration = detector.calibration
    assert calibration is not None, "only calibrated versions are registered"
    encoded = detector.encode(chunk)
    evaluation = detector.evaluate(encoded)
    ids = record_ids(chunk, key) if calibration.ties == "random" else None
    scores = detector.judge(chunk, encoded, evaluation, record_id=ids)
    readable = np.array([why is None for why in encoded.refused], dtype=bool)
    group = np.where(np.isnan(scores.score), "", scores.group)
    odd = int((readable & np.isnan(scores.score)).sum())
    return Said(scores.log_likelihood, scores.score, scores.p_value, group), odd
