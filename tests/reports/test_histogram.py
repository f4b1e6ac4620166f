from __future__ import annotations

import math

import numpy as np
import pytest

from flowguard.reports import score_histogram

RNG = np.random.default_rng(0)
REFERENCE = RNG.gamma(2.0, 1.5, 20_000)


def test_every_record_is_in_a_bin_or_counted_beyond_the_edge():
    batch = np.append(RNG.gamma(2.0, 1.5, 500), [90.0, 1e300])
    made = score_histogram(batch, REFERENCE, threshold=12.0)
    assert made is not None
    assert made.batch.sum() * len(batch) + made.batch_above == pytest.approx(len(batch))
    assert made.reference.sum() * len(REFERENCE) + made.reference_above == pytest.approx(len(REFERENCE))
    assert made.batch_above >= 2
    assert made.highest == 1e300


def test_the_threshold_lies_inside_with_room_on_its_right():
    made = score_histogram(REFERENCE[:100], REFERENCE, threshold=40.0)
    assert made is not None
    assert made.edges[0] < 40.0 < made.edges[-1]


def test_extreme_scores_do_not_squeeze_the_ordinary_ones():
    made = score_histogram(np.append(REFERENCE[:100], 1e9), REFERENCE, threshold=12.0)
    assert made is not None
    assert made.edges[-1] < 50


def test_scores_that_are_no_numbers_are_left_out():
    made = score_histogram([1.0, math.nan, math.inf], [1.0, 2.0], threshold=3.0)
    assert made is not None
    assert made.highest == 1.0


@pytest.mark.parametrize("threshold", [math.inf, math.nan, 2.0, 5.0])
def test_one_value_everywhere_still_makes_bins(threshold):
    made = score_histogram([2.0, 2.0], [2.0], threshold=threshold)
    assert made is not None
    assert (np.diff(made.edges) > 0).all()
    assert made.batch.sum() == 1.0


def test_nothing_to_show_is_none():
    assert score_histogram([], [math.nan], threshold=1.0) is None


def test_an_empty_batch_is_shown_beside_its_reference():
    made = score_histogram([], REFERENCE, threshold=12.0)
    assert made is not None
    assert made.batch.sum() == 0
    assert math.isnan(made.highest)
