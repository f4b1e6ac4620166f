"""A bounded sample of a stream of records, evenly spread over it."""

from __future__ import annotations

import numpy as np
import torch

from flowguard.density import Inputs
from flowguard.detector.evaluate import inputs_of
from flowguard.encoding import Encoded

MOST = 2000


class Sample:
    """Every k-th record of a stream, k a power of two such that at most `MOST` are kept; however the stream is cut."""

    def __init__(self) -> None:
        self._parts: list[Inputs] = []
        self._seen, self._stride, self._kept = 0, 1, 0

    def add(self, encoded: Encoded) -> None:
        """The next records."""
        rows = np.flatnonzero((self._seen + np.arange(len(encoded))) % self._stride == 0)
        self._seen += len(encoded)
        self._parts.append(inputs_of(encoded.take(rows)))
        self._kept += len(rows)
        while self._kept > MOST:
            together = Inputs.join(self._parts)
            self._parts = [together.take(torch.arange(0, len(together), 2))]
            self._stride, self._kept = 2 * self._stride, len(self._parts[0])

    @property
    def inputs(self) -> Inputs | None:
        """The records that were kept, in order; None where there were none."""
        return Inputs.join(self._parts) if self._kept else None
