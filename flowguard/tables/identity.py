"""Who a record is (its id), and what a batch holds (its fingerprint)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from flowguard.tables.hashing import LANES, hash_rows, mix, unmix

#: So often a key is taken to be repeated in a batch where records are looked for by their ids.
_REPEATS = 16


def record_ids(batch: pa.RecordBatch, key: Sequence[str]) -> list[str]:
    """32 hexadecimal digits per record: the hash of its key, or of its whole content without one.

    A record whose key (or content) came before in the same batch gets its occurrence number mixed in, so that
    ids are distinct. For a batch that arrives in pieces use `RecordIds`.

    >>> record_ids(pa.record_batch({"order": [7, 8], "amount": [1.5, 2.5]}), ["order"])[0][:8]
    'ec9469b1'
    """
    return RecordIds(key).update(batch)


class RecordIds:
    """Ids of the records of one batch that arrives in pieces; holds 12 bytes per record seen.

    Law: ids do not depend on how the batch was cut; without repeated keys, nor on its order.
    """

    def __init__(self, key: Sequence[str]) -> None:
        self._key = tuple(key)
        self._seen = _Counts()

    def update(self, batch: pa.RecordBatch) -> list[str]:
        """The ids of the next records."""
        columns = self._key or tuple(batch.schema.names)
        rows = hash_rows(batch, columns)
        before = self._seen.add(rows[:, 0])
        repeated = before > 0
        if repeated.any():
            rows[repeated] = mix(rows[repeated] + mix(before[repeated].astype(np.uint64))[:, None])
        text = rows.astype(">u8").tobytes().hex()
        width = 16 * LANES
        return [text[start : start + width] for start in range(0, len(text), width)]

    def repeats(self, batch: pa.RecordBatch) -> bool:
        """Whether one of the next records has a key that was seen before; for checking a key, without ids."""
        rows = hash_rows(batch, self._key or tuple(batch.schema.names))
        return bool(self._seen.add(rows[:, 0]).any())


class Known:
    """Which records of a stream have the key, or without one the content, of records that are known by their ids.

    An id tells its key's hash and how often the key came before in its batch (up to 16 times), so that nothing has to
    be known of the batches: all records of a known one's key are found, whichever delivery of it the id is of.
    `found` are the ids that were. Memory: some 400 bytes for each id, whatever the length of the stream.

    >>> orders = pa.record_batch({"order": [7, 8, 7], "amount": [1.5, 2.5, 9.9]})
    >>> known = Known(["order"], record_ids(orders, ["order"])[2:])
    >>> known.mask(orders).tolist()
    [True, False, True]
    """

    def __init__(self, key: Sequence[str], ids: Collection[str]) -> None:
        self._key = tuple(key)
        self._ids = sorted(ids)
        text = "".join(self._ids)
        rows = np.frombuffer(bytes.fromhex(text), dtype=">u8").astype(np.uint64).reshape(len(self._ids), LANES)
        times = mix(np.arange(1, _REPEATS + 1, dtype=np.uint64))
        # What `RecordIds` does to the hash of a key that came before, undone.
        hashes = np.concatenate([rows, *(unmix(rows) - repeated for repeated in times)])
        order = np.argsort(hashes[:, 0], kind="stable")
        self._hashes = hashes[order]
        self._of = order % max(len(self._ids), 1)
        self._found: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._ids)

    @property
    def found(self) -> list[str]:
        """The ids whose keys came in the records that were looked at so far, sorted."""
        return [self._ids[place] for place in sorted(self._found)]

    def mask(self, batch: pa.RecordBatch) -> np.ndarray:
        """Whether each of the next records is one of them, (rows,)."""
        if not self._ids:
            return np.zeros(batch.num_rows, dtype=bool)
        rows = hash_rows(batch, self._key or tuple(batch.schema.names))
        at = np.minimum(np.searchsorted(self._hashes[:, 0], rows[:, 0]), len(self._hashes) - 1)
        mask = (self._hashes[at] == rows).all(axis=1)
        self._found.update(self._of[at[mask]].tolist())
        return np.asarray(mask)


class Fingerprint:
    """What a batch holds, as 64 hexadecimal digits, whatever the order of its records and however it was cut.

    Law: equal for two batches if and only if (up to hash collisions) they have the same columns and hold the
    same records, each the same number of times. Number widths, dictionary encoding, string layouts,
    timestamp units and column order do not matter; a missing value and NaN are one.
    """

    def __init__(self) -> None:
        self._sums = np.zeros(LANES, dtype=np.uint64)
        self._rows = 0
        self._columns: tuple[str, ...] = ()

    def update(self, batch: pa.RecordBatch) -> None:
        """Take in the next records."""
        self._columns = tuple(sorted(batch.schema.names))
        self._rows += batch.num_rows
        # A sum, unlike an exclusive or, tells a record that is there twice from one that is not there.
        self._sums += mix(hash_rows(batch, self._columns)).sum(axis=0, dtype=np.uint64)

    def hexdigest(self) -> str:
        """The fingerprint of everything taken in so far."""
        digest = hashlib.sha256()
        digest.update(repr(self._columns).encode())
        digest.update(self._rows.to_bytes(8, "big"))
        digest.update(self._sums.astype(">u8").tobytes())
        return digest.hexdigest()


class _Counts:
    """How often each 64-bit number was seen, in sorted runs that are merged when they reach each other's
    size."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, values: np.ndarray) -> np.ndarray:
        """How often each value was seen before, in order, counting the earlier ones of `values` too."""
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        first = np.ones(len(values), dtype=bool)
        first[1:] = ordered[1:] != ordered[:-1]
        starts = np.nonzero(first)[0]
        counts = np.diff(np.append(starts, len(values)))
        unique = ordered[starts]
        earlier = np.zeros(len(unique), dtype=np.int64)
        for known, times in self._runs:
            at = np.minimum(np.searchsorted(known, unique), len(known) - 1)
            earlier += np.where(known[at] == unique, times[at], 0)
        before = np.empty(len(values), dtype=np.int64)
        before[order] = np.arange(len(values)) - np.repeat(starts, counts) + np.repeat(earlier, counts)
        if len(unique):
            self._push(unique, counts.astype(np.int32))
        return before

    def _push(self, values: np.ndarray, counts: np.ndarray) -> None:
        while self._runs and len(self._runs[-1][0]) <= 2 * len(values):
            other, times = self._runs.pop()
            merged, inverse = np.unique(np.concatenate([other, values]), return_inverse=True)
            counts = np.bincount(inverse, weights=np.concatenate([times, counts])).astype(np.int32)
            values = merged
        self._runs.append((values, counts))
