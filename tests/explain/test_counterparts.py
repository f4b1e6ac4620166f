"""Counterparts: near in every column that counts, one absurd value aside; alike in direction, not in size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from flowguard.explain import Reason
from flowguard.explain.counterparts import DIFFERS, INDEPENDENT, MOST, Located, gaps, likeness, nearest

SETTINGS = {
    "power": FeatureSettings(front="standard"),
    "tax": FeatureSettings(front="standard"),
    "items": FeatureSettings("integer"),
    "channel": FeatureSettings("category"),
}
CONTEXT = {
    "hour": ContextSettings("cyclic", period=24),
    "distance": ContextSettings("number"),
    "site": ContextSettings("category"),
}


def records(rows: int, seed: int) -> pa.RecordBatch:
    """Every kind of column; half of the taxes are 0, power is missing now and then."""
    rng = np.random.default_rng(seed)
    return pa.record_batch(
        {
            "power": pa.array(rng.normal(5, 1, rows), mask=rng.random(rows) < 0.1),
            "tax": np.where(rng.random(rows) < 0.5, 0.0, rng.normal(3, 1, rows)),
            "items": rng.poisson(3, rows).astype(float),
            "channel": rng.choice(["web", "shop"], rows),
            "hour": rng.integers(0, 24, rows).astype(float),
            "distance": rng.normal(100, 20, rows),
            "site": rng.choice(["north", "south"], rows),
        }
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.fit(SETTINGS, CONTEXT, [records(500, 0)], seed=0)


def located(encoder: Encoder, batch: pa.RecordBatch) -> Located:
    """Without a flow: the encoded numbers stand for their noise, in two orders."""
    encoded = encoder.encode(batch)
    return Located(encoded, np.stack([encoded.x, encoded.x], axis=1))


def changed(batch: pa.RecordBatch, column: str, value: object) -> pa.RecordBatch:
    place = batch.schema.get_field_index(column)
    return batch.set_column(place, column, pa.array([value] * len(batch), batch.schema.field(place).type))


def widths(encoder: Encoder) -> list[int]:
    return [column.width for column in encoder.numeric]


def test_a_record_with_one_absurd_value_is_nearest_to_what_it_would_be_without(encoder: Encoder) -> None:
    among = records(300, 1)
    for row, column, value in [(3, "power", 900.0), (40, "channel", "fax"), (77, "items", 4000.0), (80, "power", None)]:
        one = changed(among.slice(row, 1), column, value)
        found = nearest(located(encoder, one), located(encoder, among), widths=widths(encoder), count=3)
        assert found.rows[0] == row
        differs = [name for name, gap in zip(SETTINGS, found.gaps[0], strict=False) if gap >= DIFFERS]
        assert differs == [column]
        assert np.all(np.diff(found.distance) >= 0)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 49))
def test_a_record_is_no_distance_from_itself_and_no_column_counts_without_bound(seed: int, row: int) -> None:
    encoder = Encoder.fit(SETTINGS, CONTEXT, [records(500, 0)], seed=0)
    among = records(50, seed)
    found = gaps(located(encoder, among.slice(row, 1)), located(encoder, among), widths=widths(encoder))
    assert found.shape == (50, len(SETTINGS) + len(CONTEXT))
    assert not found[row].any()
    assert found.min() >= 0
    assert found.max() <= MOST


def test_a_column_tells_what_it_differs_by(encoder: Encoder) -> None:
    one = pa.record_batch(
        {
            "power": [5.0],
            "tax": [0.0],
            "items": [3.0],
            "channel": ["web"],
            "hour": [0.0],
            "distance": [100.0],
            "site": ["north"],
        }
    )

    def gap(column: str, value: object) -> float:
        found = gaps(located(encoder, one), located(encoder, changed(one, column, value)), widths=widths(encoder))
        place = [*SETTINGS, *CONTEXT].index(column)
        assert not np.delete(found[0], place).any()
        return float(found[0, place])

    assert gap("channel", "shop") == gap("channel", None) == gap("site", "south") == INDEPENDENT
    assert gap("power", None) == gap("items", None) == MOST
    assert 0 < gap("power", 5.1) < gap("power", 6.0) < gap("power", 7.0) <= gap("power", 1e9) == MOST
    assert 0 < gap("items", 4.0) < gap("items", 5.0) <= MOST
    assert gap("tax", 0.1) < 0.1, "next to an atom is near it"
    assert gap("hour", 23.0) == pytest.approx(gap("hour", 1.0))
    assert gap("hour", 12.0) == MOST


def test_counterparts_are_of_one_record(encoder: Encoder) -> None:
    two = located(encoder, records(2, 1))
    with pytest.raises(ValueError, match="one record"):
        gaps(two, two, widths=widths(encoder))
    with pytest.raises(ValueError, match="context"):
        gaps(located(encoder, records(1, 1)), two, widths=[1])


def reason(column: str, share: float, *, observed: float | None = 9.0, low: float = 0.0, high: float = 1.0) -> Reason:
    return Reason("a", 1, column, share, share, observed, "", low, high, "")


def test_records_are_alike_in_which_columns_are_odd_and_to_which_side() -> None:
    both = [reason("dep_delay", 8.0), reason("arr_delay", 8.0)]
    assert likeness(both, [reason("arr_delay", 70.0), reason("dep_delay", 70.0)]) == pytest.approx(1.0)
    assert likeness(both, [reason("dep_delay", 3.0)]) == pytest.approx(np.sqrt(0.5))
    assert likeness(both, [reason("air_time", 8.0)]) == 0.0
    below = [reason("dep_delay", 8.0, observed=-9.0), reason("arr_delay", 8.0, observed=-9.0)]
    assert likeness(both, below) == pytest.approx(-1.0)
    inside = [reason("dep_delay", 8.0, observed=0.9)], [reason("dep_delay", 8.0, observed=0.1)]
    assert likeness(both[:1], inside[0]) == -likeness(both[:1], inside[1]) == pytest.approx(1.0)
    # Of a level there is no side; a share that is none counts for nothing.
    assert likeness([reason("channel", 5.0, observed=None)], [reason("channel", 2.0, observed=None)]) == 1.0
    assert likeness([reason("channel", -5.0)], [reason("channel", 2.0)]) == 0.0


def test_where_reasons_have_contrasts_these_count_and_a_pair_counts_for_both_columns() -> None:
    def contrasted(column: str, contrast: float, partner: str | None = None) -> SimpleNamespace:
        known = {"observed": 9.0, "low": 0.0, "high": 1.0, "share": float("nan")}
        return SimpleNamespace(column=column, contrast=contrast, partner=partner, **known)

    pair = [contrasted("dep_delay", 50.0, "arr_delay")]
    assert likeness(pair, [contrasted("dep_delay", 8.0, "arr_delay")]) == pytest.approx(1.0)
    assert likeness(pair, [contrasted("arr_delay", 8.0)]) == pytest.approx(np.sqrt(0.5))
    assert likeness(pair, [contrasted("air_time", 8.0)]) == 0.0
