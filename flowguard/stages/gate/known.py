"""The anomalies that people confirmed, read again from their batches and scored by two versions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flowguard.detector import Detector
from flowguard.errors import InputError
from flowguard.stages.dealing import Dealing
from flowguard.stages.gate.held_out import Said, said_of
from flowguard.stages.progress import work
from flowguard.stages.workspace import Workspace
from flowguard.tables import RecordIds

BATCHES = 50
"""So many batches with confirmed records are read, those of the newest verdicts."""


@dataclass(frozen=True)
class KnownAnomalies:
    """Confirmed records that neither version was made of, and the batch of each; `trained_on` others were left out."""

    batch: np.ndarray
    new: Said
    old: Said
    trained_on: int

    @property
    def both(self) -> np.ndarray:
        """Which of them both versions could score, (n,)."""
        return self.new.scored & self.old.scored


def known_anomalies(workspace: Workspace, detector: Detector, champion: Detector) -> KnownAnomalies:
    """The confirmed records, looked for by their ids in the batches that the verdicts name.

    A version knows a record that it was trained, chosen or calibrated on; not one that was kept from all that because
    it was confirmed by then. Batches that are no longer in the source are passed over.
    """
    spec, source = workspace.pipeline, workspace.source()
    wanted = _by_batch(workspace)
    dealings = [Dealing.of(detector), Dealing.of(champion)]
    time, key = spec.source.time, spec.source.key
    # Without a key a record's id is that of the columns that are read to score it.
    identity = list(key) or list(champion.columns)
    read = [*identity, *detector.columns, *champion.columns, *(name for one in dealings for name in one.unit)]
    read = list(dict.fromkeys([*read, *([time] if time else [])]))
    new, old, batches, trained_on = [], [], [], 0
    with work("scoring confirmed anomalies again", total=len(wanted)) as bar:
        for name, entries in wanted.items():
            bar.advance(1)
            try:
                batch = source.find_batch(name)
            except InputError:
                continue
            ids = RecordIds(key)
            for chunk in source.read(read, batch=batch):
                entry = np.array([entries.get(one, 0) for one in ids.update(chunk.select(identity))])
                rows = np.flatnonzero(entry)
                if not len(rows):
                    continue
                some, entry = chunk.take(pa.array(rows)), entry[rows]
                fresh = np.ones(len(rows), dtype=bool)
                for dealing in dealings:
                    fresh &= dealing.unknown(some, time) | (entry <= dealing.left_out)
                trained_on += int((~fresh).sum())
                some = some.filter(pa.array(fresh))
                new.append(said_of(detector, some, key)[0])
                old.append(said_of(champion, some, key)[0])
                batches += [name] * some.num_rows
    return KnownAnomalies(np.array(batches, dtype=str), Said.join(new), Said.join(old), trained_on)


def _by_batch(workspace: Workspace) -> dict[str, Mapping[str, int]]:
    """Of the batches of the newest verdicts the confirmed records, each with the entry that says so."""
    name, verdicts = workspace.pipeline.name, workspace.store.verdicts
    confirmed = verdicts.confirmed(name)
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for one in sorted(verdicts.latest(name, confirmed).values(), key=lambda verdict: -verdict.id):
        if one.record_id in confirmed and (one.batch in found or len(found) < BATCHES):
            found[one.batch][one.record_id] = confirmed[one.record_id]
    return dict(found)
