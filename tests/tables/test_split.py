from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.tables import part_of, unit_of

SHARES = {"train": 0.6, "validation": 0.06, "calibration": 0.17, "holdout": 0.17}


def test_shares_are_met_and_units_stay_together():
    n = 60_000
    batch = pa.record_batch({"unit": np.arange(n) // 3, "x": np.arange(n)})
    parts = part_of(batch, unit=["unit"], shares=SHARES)
    for name, share in SHARES.items():
        assert np.mean(parts == name) == pytest.approx(share, abs=5 * (share * (1 - share) / (n / 3)) ** 0.5)
    assert (parts.reshape(-1, 3) == parts.reshape(-1, 3)[:, :1]).all()


@settings(max_examples=50, deadline=None)
@given(units=st.lists(st.one_of(st.none(), st.integers(-5, 5)), min_size=1, max_size=40), cut=st.integers(0, 40))
def test_a_unit_lies_in_one_part_wherever_it_is_read(units, cut):
    batch = pa.record_batch({"u": pa.array(units, pa.int64())})
    parts = part_of(batch, unit=["u"], shares=SHARES)
    pieces = [piece for piece in (batch.slice(0, cut), batch.slice(cut)) if piece.num_rows]
    assert np.concatenate([part_of(p, unit=["u"], shares=SHARES) for p in pieces]).tolist() == parts.tolist()
    as_floats = pa.record_batch({"u": batch.column("u").cast(pa.float64())})
    assert part_of(as_floats, unit=["u"], shares=SHARES).tolist() == parts.tolist()


def test_a_salt_deals_anew_and_no_unit_means_the_whole_record():
    batch = pa.record_batch({"a": np.arange(2000), "b": np.arange(2000) % 2})
    assert (part_of(batch, unit=[], shares=SHARES) == part_of(batch, unit=["b", "a"], shares=SHARES)).all()
    one, other = (part_of(batch, unit=["a"], shares=SHARES, salt=salt) for salt in ("", "again"))
    assert 0.3 < np.mean(one == other) < 0.6


def test_the_split_does_not_follow_the_ids():
    # Were both drawn from one number, the parts would be ranges of ids.
    batch = pa.record_batch({"a": np.arange(5000)})
    train = part_of(batch, unit=["a"], shares=SHARES) == "train"
    high = unit_of(batch, unit=["a"]) > np.uint64(2**63)
    assert np.mean(train[high]) == pytest.approx(0.6, abs=0.05)


def test_the_largest_share_edge_is_inside():
    batch = pa.record_batch({"a": np.arange(1000)})
    assert set(part_of(batch, unit=["a"], shares={"all": 1.0})) == {"all"}
    with pytest.raises(ValueError, match="sum to 1"):
        part_of(batch, unit=["a"], shares={"train": 0.5})


def test_units_are_told_apart_by_a_number():
    units = unit_of(pa.record_batch({"a": [1, 1, 2], "b": [1, 2, 1]}), unit=["a"])
    assert units[0] == units[1] != units[2]
