"""Exclude: records that people confirmed as anomalies are left out of what a version learns from and ranks among."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from flowguard.detector import Detector
from flowguard.stages.workspace import Workspace
from flowguard.tables import Known

_RECORD_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Excluded:
    """The confirmed anomalies that were left out, `records` of each part.

    `ids` counts the ids that were met, `digest` is a hash of them in order, `entry` the newest verdict among those that
    confirm them. It follows from them alone: other verdicts, given since, make no other version.
    """

    records: Mapping[str, int]
    ids: int
    digest: str
    entry: int

    def to_dict(self) -> dict[str, Any]:
        """As provenance holds it."""
        return {"records": dict(self.records), "ids": self.ids, "digest": self.digest, "entry": self.entry}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Excluded:
        """From provenance."""
        return cls(document["records"], document["ids"], document["digest"], document["entry"])

    @property
    def total(self) -> int:
        """All records that were left out."""
        return sum(self.records.values())

    @property
    def words(self) -> str:
        """How many of which part, in words.

        >>> Excluded({"train": 8, "calibration": 3}, 11, "3f2a9c01", 40).words
        '11 records confirmed as anomalies (8 train, 3 calibration), by verdicts up to entry 40, ids 3f2a9c01'
        """
        parts = ", ".join(f"{count:,} {part}" for part, count in self.records.items() if count)
        said = f"{self.total:,} record{'' if self.total == 1 else 's'} confirmed as anomalies ({parts})"
        return f"{said}, by verdicts up to entry {self.entry}, ids {self.digest[:8]}"


class Exclusion:
    """The verdicts as they stood at one moment, and the records of a stream that were left out by them.

    Memory: by the number of confirmed records, whatever the length of the stream.
    """

    def __init__(self, confirmed: Mapping[str, int], key: Sequence[str], columns: Sequence[str]) -> None:
        self._entries = {name: entry for name, entry in confirmed.items() if _RECORD_ID.fullmatch(name)}
        # Without a key a record's id is that of the columns that are read to score it.
        self._of = tuple(key) or tuple(columns)
        self._known = Known(self._of, self._entries)
        self._counts: Counter[str] = Counter()

    @classmethod
    def of(cls, workspace: Workspace, columns: Sequence[str]) -> Exclusion:
        """The confirmed records of a pipeline whose versions read these columns; none where its file turns it off."""
        spec = workspace.pipeline
        confirmed = workspace.store.verdicts.confirmed(spec.name) if spec.verdicts.exclude_confirmed else {}
        return cls(confirmed, spec.source.key, columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that have to be read to know the records; none where there is nothing to leave out."""
        return self._of if self._known else ()

    def mask(self, chunk: pa.RecordBatch) -> np.ndarray:
        """Whether each of the records is left out, (n,)."""
        return self._known.mask(chunk)

    def count(self, part: str, records: int) -> None:
        """Add to what was left out of a part."""
        self._counts[part] += records

    @property
    def made(self) -> Excluded | None:
        """What was left out so far; None for nothing."""
        if not self._counts.total():
            return None
        return excluded(self._counts, self._known.found, self._entries)


def excluded(records: Mapping[str, int], ids: Collection[str], entries: Mapping[str, int]) -> Excluded:
    """What was left out, from the ids that were met and the entries that confirm them."""
    digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
    return Excluded(dict(records), len(ids), digest, max(entries[name] for name in ids))


def excluded_of(detector: Detector) -> Excluded | None:
    """What was left out when a version was made, of a recalibrated one in its calibration; None for nothing."""
    found = detector.provenance.get("excluded")
    return None if found is None else Excluded.from_dict(found)
