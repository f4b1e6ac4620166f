from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.tables import Fingerprint, Known, RecordIds, record_ids
from flowguard.tables.hashing import hash_column, hash_rows, mix, unmix

NAN = float("nan")
DAY = dt.date(1913, 5, 1)
NOON = dt.datetime(1913, 5, 1, 12, 0, 0, 500_000)


def array(values, kind=None):
    return pa.array(values, kind)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (array([5, None, 0]), array([5.0, NAN, -0.0])),
        (array([1, 2], pa.int8()), array([1, 2], pa.uint64())),
        (array([0.5, NAN], pa.float32()), array([0.5, None], pa.float64())),
        (array(["a", "bé", None, ""]), array(["a", "bé", None, ""]).dictionary_encode()),
        (array(["a", "", "xyz"]), array(["q", "a", "", "xyz"], pa.large_string()).slice(1)),
        (array(["a", "b"], pa.string_view()), array([b"a", b"b"])),
        (array([NOON, None], pa.timestamp("ms")), array([NOON, None], pa.timestamp("ns", "UTC"))),
        (array([DAY]), array([dt.datetime(1913, 5, 1)], pa.timestamp("us"))),
        (array([DAY]), array([DAY], pa.date64())),
        (array([Decimal("1.50"), None], pa.decimal128(5, 2)), array([Decimal("1.500"), None], pa.decimal128(9, 3))),
        (array([Decimal("100")], pa.decimal128(5, 0)), array([Decimal("100")], pa.decimal128(9, 3))),
        (array([None]), array([None], pa.string())),
        (array([dt.time(1, 2)], pa.time32("s")), array([dt.time(1, 2)], pa.time64("ns"))),
        (array([dt.timedelta(1)], pa.duration("s")), array([dt.timedelta(1)], pa.duration("us"))),
    ],
)
def test_a_value_has_one_hash_however_it_is_stored(one, other):
    assert (hash_column(one) == hash_column(other)).all()


def test_different_values_have_different_hashes():
    arrays = [
        array([0, 1, -1, 2**63 - 1, None]),
        array([2**64 - 1], pa.uint64()),
        array([0.5, 1e300, float("inf"), float("-inf"), 5e-324]),
        array(["0", "1", "", "ab", "ba", "a", "\0", "a\0", "é", "x" * 70_000, "x" * 70_001, "y" + "x" * 69_999]),
        array([dt.date(1970, 1, 2), dt.date(1970, 1, 3)]),
        array([dt.timedelta(days=1)]),
        array([[1, 2], [2, 1], []], pa.list_(pa.int64())),
    ]
    hashes = {tuple(pair) for one in arrays for pair in hash_column(one).tolist()}
    assert len(hashes) == sum(len(one) for one in arrays)
    lanes = np.array(sorted(hashes), dtype=np.uint64)
    assert len(np.unique(lanes[:, 0])) == len(np.unique(lanes[:, 1])) == len(hashes)


def test_hashes_never_change_between_releases():
    batch = pa.record_batch({"n": [7, None], "s": ["é", ""], "t": [NOON, None], "x": [0.1, -0.0]})
    assert record_ids(batch, ["n", "s"]) == PINNED["key"]
    assert record_ids(batch, []) == PINNED["content"]
    fingerprint = Fingerprint()
    fingerprint.update(batch)
    assert fingerprint.hexdigest() == PINNED["fingerprint"]


PINNED = {
    "key": ["145f2589fc3224ca94ee37fff7184599", "6f6bc0142e63af89ecbef8ce417d10ec"],
    "content": ["74b063f1fd11a09c171daac49002037d", "1eb61006a41b58537ab079c740666bb7"],
    "fingerprint": "6427750e6684fb25ef102c7f0060f4e39484c2f4e3cbe11ef0ff9124c9a4a722",
}


def test_an_id_is_32_hexadecimal_digits_of_the_key_alone():
    one = record_ids(pa.record_batch({"k": [1, 2], "x": [1.0, 2.0]}), ["k"])
    other = record_ids(pa.record_batch({"x": [9.0, 9.0], "k": [2, 1]}), ["k"])
    assert one == other[::-1]
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in one)


def test_repeated_keys_get_ids_of_their_own_the_first_keeps_its():
    batch = pa.record_batch({"k": [1, 2, 1, 1]})
    ids = RecordIds(["k"])
    found = ids.update(batch) + ids.update(batch)
    assert len(set(found)) == 8
    assert found[0] == record_ids(pa.record_batch({"k": [1]}), ["k"])[0]


def test_ids_of_a_large_batch_are_distinct():
    ids = RecordIds(["k"])
    found = [
        text for start in range(0, 100_000, 9_000) for text in ids.update(keys(start, min(9_000, 100_000 - start)))
    ]
    assert len(set(found)) == 100_000


def keys(start: int, count: int) -> pa.RecordBatch:
    return pa.record_batch({"k": np.arange(start, start + count) // 3})


def fingerprint_of(*batches: pa.RecordBatch) -> str:
    fingerprint = Fingerprint()
    for batch in batches:
        fingerprint.update(batch)
    return fingerprint.hexdigest()


def test_a_fingerprint_counts_duplicates_and_notices_every_change():
    table = {"a": [1, 2, 2], "b": ["x", "y", None]}
    base = fingerprint_of(pa.record_batch(table))
    changes = [
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": [1, 2, 2, 2], "b": ["x", "y", None, None]},
        {"a": [1, 2, 3], "b": ["x", "y", None]},
        {"a": [2, 1, 2], "b": ["x", "y", None]},
        {"b": [1, 2, 2], "a": ["x", "y", None]},
        {"a": [1, 2, 2], "c": ["x", "y", None]},
        {"a": [1, 2, 2], "b": ["x", "y", None], "c": [None, None, None]},
    ]
    assert len({base, *(fingerprint_of(pa.record_batch(change)) for change in changes)}) == len(changes) + 1
    assert fingerprint_of(pa.record_batch({"b": [None, "y", "x"], "a": [2, 2, 1]})) == base


@settings(max_examples=50, deadline=None)
@given(
    records=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b"])), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    shuffled=st.randoms(use_true_random=False),
)
def test_order_and_cuts_do_not_matter(records, cuts, shuffled):
    def batch(some):
        return pa.record_batch({"n": pa.array([r[0] for r in some], pa.int64()), "s": pa.array([r[1] for r in some])})

    edges = sorted({0, len(records), *(cut for cut in cuts if cut < len(records))})
    pieces = [batch(records[a:b]) for a, b in pairwise(edges)]
    ids = RecordIds([])
    found = [text for piece in pieces for text in ids.update(piece)]
    assert found == record_ids(batch(records), [])
    other = list(records)
    shuffled.shuffle(other)
    assert sorted(record_ids(batch(other), [])) == sorted(found)
    assert fingerprint_of(*pieces) == fingerprint_of(batch(other))


def test_hashes_are_spread_evenly():
    rows = hash_rows(pa.record_batch({"k": np.arange(64_000)}), ["k"])
    for lane in range(2):
        for shift in (0, 29, 58):
            counts = np.bincount(((rows[:, lane] >> np.uint64(shift)) & np.uint64(63)).astype(int), minlength=64)
            assert np.abs(counts - 1000).max() < 5 * 1000**0.5


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_mixing_can_be_undone(numbers: list[int]) -> None:
    values = np.array(numbers, dtype=np.uint64)
    assert (unmix(mix(values)) == values).all()


def test_known_records_are_found_by_any_delivery_of_their_key_however_a_stream_is_cut() -> None:
    batch = pa.record_batch({"id": [1, 2, 1, 3, 1, 4], "value": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]})
    ids = record_ids(batch, ["id"])
    for wanted, mask in (
        ([ids[1]], [False, True, False, False, False, False]),
        ([ids[0]], [True, False, True, False, True, False]),
        ([ids[4]], [True, False, True, False, True, False]),
        ([ids[2], ids[5]], [True, False, True, False, True, True]),
        ([record_ids(pa.record_batch({"id": [9]}), ["id"])[0]], [False] * 6),
        ([], [False] * 6),
    ):
        known = Known(["id"], wanted)
        assert known.mask(batch).tolist() == mask
        assert bool(known) == bool(wanted)
        assert set(known.found) <= set(wanted)
        assert bool(known.found) == any(mask)
        assert [bool(known.mask(batch.slice(start, 1))[0]) for start in range(6)] == mask
    whole = Known([], record_ids(batch, [])[3:4])
    assert whole.mask(batch).tolist() == [False, False, False, True, False, False]
    assert not whole.mask(batch.select(["id"])).any()


def test_known_records_among_many_are_found_and_no_other() -> None:
    rows = 50_000
    batch = pa.record_batch({"id": np.arange(rows)})
    ids = record_ids(batch, ["id"])
    wanted = np.random.default_rng(0).choice(rows, 300, replace=False)
    known = Known(["id"], [ids[row] for row in wanted])
    assert sorted(np.flatnonzero(known.mask(batch)).tolist()) == sorted(wanted.tolist())
    assert known.found == sorted(ids[row] for row in wanted)
