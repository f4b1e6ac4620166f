"""The flags of a batch: decided once all its records are scored, with those records kept that could be flagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from flowguard.calibration import Budget, Calibration, Decision, History
from flowguard.detector import Scores

_SPARE = 10_000
"""Records more than a budget needs that are kept before those that fell out of it are let go."""


class Undecided:
    """The scores of a batch so far, and the whole of each record that may yet be flagged.

    A policy that looks at the whole batch cannot flag before its end; what it can never flag is let go at once. Per
    record 28 bytes stay, and of few records all columns.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration, self.policy = calibration, calibration.policy
        self._scores: list[np.ndarray] = []
        self._p_values: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._places: list[np.ndarray] = []
        self._records: list[tuple[np.ndarray, pa.RecordBatch, list[str]]] = []
        self._rows = 0

    def add(self, chunk: pa.RecordBatch, record_ids: Sequence[str], scores: Scores, usable: np.ndarray) -> None:
        """The next records; `usable` (n,) says which could be scored."""
        rows = np.flatnonzero(usable)
        p_value, group = scores.p_value[rows], scores.group[rows]
        names = np.array(self._calibration.cells.names)
        self._places.append(np.searchsorted(names, group).astype(np.int32))
        self._sizes.append(self._calibration.reference_sizes(group, len(rows)))
        self._scores.append(scores.score[rows])
        self._p_values.append(p_value)
        near = np.flatnonzero(p_value <= self._bound())
        if len(near):
            taken = rows[near]
            self._records.append((self._rows + near, chunk.take(pa.array(taken)), [record_ids[row] for row in taken]))
        self._rows += len(rows)
        self._let_go()

    @property
    def scores(self) -> np.ndarray:
        """The scores of all records that could be scored, (n,)."""
        return np.concatenate(self._scores) if self._scores else np.zeros(0)

    @property
    def p_values(self) -> np.ndarray:
        """Their p-values, (n,)."""
        return np.concatenate(self._p_values) if self._p_values else np.zeros(0)

    @property
    def sizes(self) -> np.ndarray:
        """How many reference records each was ranked among, (n,)."""
        return np.concatenate(self._sizes) if self._sizes else np.zeros(0)

    @property
    def groups(self) -> np.ndarray:
        """Their calibration cells, (n,)."""
        places = np.concatenate(self._places) if self._places else np.zeros(0, dtype=np.int32)
        return np.array(self._calibration.cells.names)[places]

    def decide(self, history: History | None = None) -> Decision:
        """What the policy makes of the batch."""
        score = record_id = None
        if isinstance(self.policy, Budget):
            # Ids break ties. Those of records out of reach say nothing, so they all have one.
            score, record_id = self.scores, np.zeros(self._rows, dtype=np.int64)
            ids = [name for _, _, names in self._records for name in names]
            order = np.unique(np.array(ids, dtype=str), return_inverse=True)[1] if ids else np.zeros(0, dtype=int)
            places = [place for place, _, _ in self._records]
            record_id[np.concatenate(places) if places else np.zeros(0, dtype=int)] = order
        return self.policy.decide(
            self._calibration.own(self.p_values),
            score=score,
            record_id=record_id,
            n_reference=self.sizes,
            history=history,
        )

    def flagged(self, decision: Decision) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
        """The flagged records and their ids, in the order in which they came."""
        for places, records, ids in self._records:
            chosen = np.flatnonzero(decision.flag[places])
            if len(chosen):
                yield records.take(pa.array(chosen)), [ids[row] for row in chosen]

    def by_cell(self, decision: Decision) -> dict[str, tuple[int, int]]:
        """Of each calibration cell how many records were scored and how many flagged."""
        names = self._calibration.cells.names
        places = np.concatenate(self._places) if self._places else np.zeros(0, dtype=np.int32)
        scored = np.bincount(places, minlength=len(names))
        flagged = np.bincount(places[decision.flag], minlength=len(names))
        return {name: (int(scored[i]), int(flagged[i])) for i, name in enumerate(names)}

    def _bound(self) -> float:
        """No record with a greater p-value can be flagged any more."""
        if not isinstance(self.policy, Budget):
            return self.policy.reach
        known = self.p_values
        if len(known) <= self.policy.count:
            return self.policy.reach
        return float(np.partition(known, self.policy.count - 1)[self.policy.count - 1])

    def _let_go(self) -> None:
        if not isinstance(self.policy, Budget) or sum(len(ids) for _, _, ids in self._records) < (
            2 * self.policy.count + _SPARE
        ):
            return
        # Of records with one p-value the higher scores come first, and only a tie of both looks at the ids.
        p_value, score, count = self.p_values, self.scores, self.policy.count
        last = np.lexsort((-score, p_value))[count - 1]
        within = (p_value < p_value[last]) | ((p_value == p_value[last]) & (score >= score[last]))
        kept = []
        for places, records, ids in self._records:
            rows = np.flatnonzero(within[places])
            if len(rows):
                kept.append((places[rows], records.take(pa.array(rows)), [ids[row] for row in rows]))
        self._records = kept
