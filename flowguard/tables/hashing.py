"""128-bit hashes of values and rows, vectorised, the same for the same value however it is stored.

Equal across integer and float widths (5 is 5.0), dictionary encoding, string layouts, timestamp units,
chunking; -0.0 is 0.0, NaN is missing. Hash family: sums of position-keyed mixed bytes (multilinear, as in
Zobrist hashing) under the
finaliser of SplitMix64 (Steele, Lea, Flood 2014). It tells records apart; it is no protection against
forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LANES = 2  # two independent 64-bit hashes side by side
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SEEDS = np.array([0x243F6A8885A308D3, 0x13198A2E03707344], dtype=np.uint64)  # digits of pi
_SLICE_BYTES = 1 << 20
_LONG = 1 << 16

# What a value is, mixed into its hash: the number 1 is not the text "1".
_MISSING, _NUMBER, _TEXT, _CLOCK, _SPAN, _OTHER = (
    _SEEDS ^ np.uint64(tag * int(_GOLDEN) % 2**64) for tag in range(1, 7)
)


def hash_rows(batch: pa.RecordBatch, columns: Sequence[str]) -> np.ndarray:
    """One hash per record over these columns, each with its name; shape (rows, 2), uint64. Column order is
    immaterial."""
    total = np.zeros((batch.num_rows, LANES), dtype=np.uint64)
    for name in columns:
        total += mix(hash_column(batch.column(name)) ^ text_seed(name))
    return mix(total)


def hash_column(array: pa.Array) -> np.ndarray:
    """One hash per value; shape (rows, 2), uint64."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return hash_column(array.storage)
    if pa.types.is_dictionary(kind):
        known = hash_column(array.dictionary)
        codes = np.asarray(array.indices.cast(pa.int64()).fill_null(len(known)))
        return np.concatenate([known, _constant(1, _MISSING)])[codes]
    if pa.types.is_run_end_encoded(kind):
        return hash_column(pc.run_end_decode(array))
    if pa.types.is_null(kind):
        return _constant(len(array), _MISSING)
    valid = np.asarray(array.is_valid())
    if pa.types.is_boolean(kind):
        hashed = _whole(np.asarray(array.fill_null(False)).astype(np.int64))
    elif pa.types.is_integer(kind):
        hashed = _whole(np.asarray(array.fill_null(0)))
    elif pa.types.is_floating(kind):
        values = np.asarray(array.fill_null(0)).astype(np.float64)
        valid = valid & ~np.isnan(values)
        hashed = _floats(values)
    elif pa.types.is_decimal(kind):
        # Spelled without trailing zeros, 1.50 at scale 2 and 1.5 at scale 1 are one value.
        spelled = pc.utf8_rtrim(pc.replace_substring_regex(array.cast(pa.string()), r"^([^.eE]*)$", r"\1."), "0")
        hashed = _texts(spelled, _OTHER)
    elif _is_clock(kind):
        hashed = _clock(array)
    elif _is_bytes(kind):
        hashed = _texts(array, _TEXT)
    else:
        spelled = pa.array([None if value is None else repr(value) for value in array.to_pylist()], pa.string())
        hashed = _texts(spelled, _OTHER)
    return np.where(valid[:, None], hashed, _constant(1, _MISSING))


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit numbers whose every input bit stirs every output bit."""
    values = values.astype(np.uint64)
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def unmix(values: np.ndarray) -> np.ndarray:
    """What `mix` was given: unmix(mix(x)) = x."""
    values = values.astype(np.uint64)
    values ^= (values >> np.uint64(31)) ^ (values >> np.uint64(62))
    values *= np.uint64(0x319642B2D24D8EC3)  # the inverses of mix's factors modulo 2^64
    values ^= (values >> np.uint64(27)) ^ (values >> np.uint64(54))
    values *= np.uint64(0x96DE1B173F119089)
    values ^= (values >> np.uint64(30)) ^ (values >> np.uint64(60))
    return values


def text_seed(text: str) -> np.ndarray:
    """Two numbers that stand for a name; shape (2,), uint64."""
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), dtype="<u8").astype(np.uint64)


def _lanes(bits: np.ndarray, tag: np.ndarray) -> np.ndarray:
    return mix(mix(bits + _GOLDEN)[:, None] ^ tag)


def _constant(rows: int, tag: np.ndarray) -> np.ndarray:
    return np.broadcast_to(mix(tag), (rows, LANES))


def _whole(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint64:
        # Beyond int64 the bits would be those of a negative number.
        big = values > np.uint64(2**63 - 1)
        return np.where(big[:, None], _lanes(values, _OTHER), _lanes(values, _NUMBER))
    return _lanes(values.astype(np.int64).view(np.uint64), _NUMBER)


def _floats(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = (np.abs(values) < 2.0**63) & (np.floor(values) == values)
        as_whole = np.where(whole, values, 0.0).astype(np.int64)  # also takes -0.0 to 0
    bits = np.where(whole, as_whole.view(np.uint64), values.view(np.uint64))
    return np.where(whole[:, None], _lanes(bits, _NUMBER), _lanes(bits, _OTHER))


def _is_clock(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def _clock(array: pa.Array) -> np.ndarray:
    """Dates and timestamps by second and nanosecond of the instant, so that units and midnight dates
    agree."""
    kind: Any = array.type
    tag = _SPAN if pa.types.is_time(kind) or pa.types.is_duration(kind) else _CLOCK
    if pa.types.is_date32(kind):
        ticks, unit = np.asarray(array.cast(pa.int32()).fill_null(0)).astype(np.int64) * 86_400, "s"
    elif pa.types.is_date64(kind):
        ticks, unit = np.asarray(array.cast(pa.int64()).fill_null(0)), "ms"
    else:
        storage = pa.int32() if kind.bit_width == 32 else pa.int64()
        ticks, unit = np.asarray(array.cast(storage).fill_null(0)).astype(np.int64), kind.unit
    seconds, rest = np.divmod(ticks, _PER_SECOND[unit])
    nanoseconds = rest * (10**9 // _PER_SECOND[unit])
    return mix(_lanes(seconds.view(np.uint64), tag) + _lanes(nanoseconds.view(np.uint64), _NUMBER))


def _is_bytes(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _texts(array: pa.Array, tag: np.ndarray) -> np.ndarray:
    array = array.cast(pa.large_binary()).fill_null(b"")
    if len(array) == 0:
        return np.zeros((0, LANES), dtype=np.uint64)
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    raw = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    lengths = np.diff(offsets)
    sums = np.zeros((len(array), LANES), dtype=np.uint64)
    start = 0
    while start < len(array):
        stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + _SLICE_BYTES, side="right")) - 1)
        sums[start:stop] = _byte_sums(raw, offsets[start : stop + 1])
        start = stop
    for row in np.nonzero(lengths > _LONG)[0]:
        digest = hashlib.blake2b(raw[offsets[row] : offsets[row + 1]].tobytes(), digest_size=16).digest()
        sums[row] = np.frombuffer(digest, dtype="<u8")
    return mix(sums + _lanes(lengths.view(np.uint64), tag))


def _byte_sums(raw: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Per text the sum of its bytes, each mixed with its position; texts over `_LONG` bytes are left at 0."""
    lengths = np.diff(offsets)
    short = np.where(lengths > _LONG, 0, lengths)
    total = int(short.sum())
    if total == 0:
        return np.zeros((len(lengths), LANES), dtype=np.uint64)
    starts = np.cumsum(short) - short
    position = np.arange(total) - np.repeat(starts, short)
    byte = raw[np.repeat(offsets[:-1], short) + position]
    keyed = (position.astype(np.uint64) << np.uint64(8)) | byte
    sums = np.zeros((len(lengths), LANES), dtype=np.uint64)
    filled = short > 0
    for lane in range(LANES):
        mixed = mix(keyed * _GOLDEN + _SEEDS[lane])
        sums[filled, lane] = np.add.reduceat(mixed, starts[filled])
    return sums
