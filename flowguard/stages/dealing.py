"""How a version's records were dealt out when it was made, so that others can be told from those it knows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from flowguard.detector import Detector
from flowguard.tables import part_of
from flowguard.tables.period import Days

LATE = ("calibration", "holdout")


@dataclass(frozen=True)
class Dealing:
    """The unit, shares and salt that a version's records were dealt out by, and the days it was trained on.

    `period` are the days of its calibration and hold-out, which a recalibration may have moved. `left_out` is the
    newest verdict by which confirmed anomalies were kept from all that the version was made of, 0 where none were.
    """

    unit: tuple[str, ...]
    shares: Mapping[str, float]
    salt: str
    since: dt.date | None
    until: dt.date | None
    period: tuple[dt.date | None, dt.date | None]
    recalibrated: bool = False
    left_out: int = 0

    @classmethod
    def of(cls, detector: Detector) -> Dealing:
        """From the version's own provenance."""
        facts = detector.provenance
        then, origin = facts["split"], facts.get("recalibrated")
        since, until = _day(then["since"]), _day(then["until"])
        period, left_out = (since, until), int((facts.get("excluded") or {}).get("entry", 0))
        if origin:
            # Of one day alone, as earlier releases wrote it, nobody can tell whether it is the first or the last.
            days = list(origin.get("period") or ())
            period = (_day(days[0]), _day(days[1])) if len(days) == 2 else (None, None) if days else period
            left_out = min(left_out, int((origin.get("excluded") or {}).get("entry", 0)))
        shares = {name: then[name] for name in ("train", "validation", *LATE)}
        return cls(tuple(facts["dealt_by"]), shares, then["salt"], since, until, period, bool(origin), left_out)

    def parts(self, chunk: pa.RecordBatch, time: str | None) -> np.ndarray:
        """The part of each record (n,) for a recalibration: of days not trained on, all calibrate or are held out."""
        found = part_of(chunk, unit=self.unit, shares=self.shares, salt=self.salt)
        if time is None:
            return found
        late = {name: self.shares[name] for name in LATE}
        whole = sum(late.values())
        fresh = part_of(
            chunk, unit=self.unit, shares={name: share / whole for name, share in late.items()}, salt=self.salt
        )
        return np.where(self._trained_on(chunk, time), found, fresh)

    def held_out(self, chunk: pa.RecordBatch, time: str | None) -> np.ndarray:
        """Which records (n,) of `period` nothing of the version was fitted, chosen or calibrated on."""
        if self.recalibrated:
            return self.parts(chunk, time) == "holdout"
        return part_of(chunk, unit=self.unit, shares=self.shares, salt=self.salt) == "holdout"

    def unknown(self, chunk: pa.RecordBatch, time: str | None) -> np.ndarray:
        """Which records (n,) of any day nothing of the version was fitted, chosen or calibrated on.

        Of a recalibrated version those that its dealing would have calibrated are left out whatever their day.
        """
        held = self.held_out(chunk, time)
        return held if self.recalibrated or time is None else held | ~self._trained_on(chunk, time)

    def _trained_on(self, chunk: pa.RecordBatch, time: str) -> np.ndarray:
        return Days(self.since, self.until).mask(chunk.column(time))


def _day(text: str | None) -> dt.date | None:
    return None if not text else dt.date.fromisoformat(text)
