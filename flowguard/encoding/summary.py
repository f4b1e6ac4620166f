"""What one streamed pass keeps of a number: moments, range, and a bounded sample.

None of it depends on how the stream is cut: values are re-blocked before they are summed, and the sample is
the rows with the smallest random keys, drawn one key a row.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK = 65_536
CAPACITY = 50_000


class Moments:
    """Count, mean, deviation, least and greatest of a stream of finite numbers, in float64.

    Blocks are merged by Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (Stanford STAN-CS-79-773, 1979).
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.low = math.inf
        self.high = -math.inf
        self._squares = 0.0
        self._waiting: list[Array] = []

    def update(self, values: Array) -> None:
        self._waiting.append(values)
        if sum(map(len, self._waiting)) >= BLOCK:
            waiting = np.concatenate(self._waiting)
            whole = len(waiting) - len(waiting) % BLOCK
            for start in range(0, whole, BLOCK):
                self._merge(waiting[start : start + BLOCK])
            self._waiting = [waiting[whole:].copy()]

    def finish(self) -> None:
        """Merge what is left of the last block."""
        rest = np.concatenate(self._waiting) if self._waiting else np.empty(0)
        self._waiting = []
        if len(rest):
            self._merge(rest)

    @property
    def deviation(self) -> float:
        """Standard deviation over the rows; infinite or NaN where it overflowed."""
        return math.sqrt(self._squares / self.count) if self.count and self._squares >= 0 else math.nan

    def _merge(self, block: Array) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(block.mean())
            squares = float(np.square(block - mean).sum())
            count = self.count + len(block)
            shift = np.float64(mean) - self.mean
            self._squares += float(squares + shift * shift * (self.count * len(block) / count))
            self.mean += float(shift * (len(block) / count))
        self.count = count
        self.low = min(self.low, float(block.min()))
        self.high = max(self.high, float(block.max()))


class Sample:
    """A uniform sample of at most `CAPACITY` rows of a stream, the same however the stream is cut."""

    def __init__(self, name: str, *, seed: int) -> None:
        # Each column has its own stream of keys, so that a column's sample does not depend on which others
        # are read.
        self._random = np.random.default_rng([seed, zlib.crc32(name.encode())])
        self._keys = [np.empty(0)]
        self._values = [np.empty(0)]
        self._held = 0
        self._bar = math.inf

    def update(self, values: Array) -> None:
        keys = self._random.random(len(values))
        if math.isfinite(self._bar):
            below = keys < self._bar
            keys, values = keys[below], values[below]
        self._keys.append(keys)
        self._values.append(np.array(values))
        self._held += len(keys)
        if self._held > 2 * CAPACITY:
            self._shrink()

    def sorted(self) -> Array:
        """The sampled values in ascending order."""
        self._shrink()
        return np.sort(self._values[0])

    def _shrink(self) -> None:
        keys, values = np.concatenate(self._keys), np.concatenate(self._values)
        if len(keys) > CAPACITY:
            kept = np.argpartition(keys, CAPACITY - 1)[:CAPACITY]
            keys, values = keys[kept], values[kept]
            self._bar = float(keys.max())
        self._keys, self._values, self._held = [keys], [values], len(keys)


class Few:
    """Exact counts of the values of a stream of finite numbers, for as long as there are at most two of them.

    A sample may miss a value that occurs once in a million rows; this does not. -0.0 counts as 0.0.
    """

    MOST = 2

    def __init__(self) -> None:
        self._counts: dict[float, int] | None = {}

    def update(self, values: Array) -> None:
        if self._counts is None:
            return
        found, counts = np.unique(values, return_counts=True)
        for value, count in zip((found[: self.MOST + 1] + 0.0).tolist(), counts.tolist(), strict=False):
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > self.MOST:
            self._counts = None

    @property
    def counts(self) -> dict[float, int] | None:
        """How often each value occurred, ascending by value; None when there were more than two values."""
        return None if self._counts is None else dict(sorted(self._counts.items()))
