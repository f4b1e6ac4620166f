from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from flowguard.explain.pairs import Pair
from flowguard.explain.reason import Best, Said, reasons_for

COLUMNS = ["dep_delay", "arr_delay", "air_time"]
UNITS = {"air_time": "min"}


def reasons(shares, values, **more):
    shares = np.atleast_2d(np.asarray(shares, float))
    given = {"shares": shares, "terms": shares + 4.0, "values": np.atleast_2d(np.asarray(values, float))}
    given.update(more)
    return reasons_for([f"id{i}" for i in range(len(shares))], COLUMNS, **given)


def ranges(low, high):
    return lambda rows, column: (np.full(len(rows), float(low)), np.full(len(rows), float(high)))


def test_the_largest_share_comes_first():
    [found] = reasons([1.0, 9.0, 3.0], [1, 2, 3])
    assert [(r.rank, r.column) for r in found] == [(1, "arr_delay"), (2, "air_time"), (3, "dep_delay")]
    assert found[0].share == 9.0
    assert found[0].term == 13.0


def test_only_positive_shares_are_reasons():
    [found] = reasons([-1.0, 9.0, 0.0], [1, 2, 3])
    assert [r.column for r in found] == ["arr_delay"]


def test_a_record_without_a_positive_share_still_has_one_reason():
    [found] = reasons([-3.0, -1.0, -2.0], [1, 2, 3])
    assert [r.column for r in found] == ["arr_delay"]


def test_a_share_that_is_no_number_is_shown_first_not_dropped():
    [found] = reasons([1.0, math.nan, 3.0], [1, 2, 3])
    assert found[0].column == "arr_delay"


def test_no_more_than_top_reasons_are_given():
    [found] = reasons([1.0, 9.0, 3.0], [1, 2, 3], top=2)
    assert [r.column for r in found] == ["arr_delay", "air_time"]
    with pytest.raises(ValueError, match="at least 1"):
        reasons([1.0, 9.0, 3.0], [1, 2, 3], top=0)


def test_equal_shares_keep_the_order_of_the_columns():
    [found] = reasons([2.0, 2.0, 2.0], [1, 2, 3])
    assert [r.column for r in found] == COLUMNS


def test_a_reason_carries_the_value_and_the_expected_range():
    [[reason, *_]] = reasons([0.0, 0.0, 9.0], [1, 2, 65], expected=ranges(107.2, 121.4), units=UNITS)
    assert (reason.observed, reason.low, reason.high) == (65.0, 107.2, 121.4)
    assert reason.observed_text == "65 min"
    assert reason.words == "air_time 65 min; 107 to 121 expected"


def test_ranges_are_asked_for_once_per_column_and_only_where_they_are_shown():
    asked = []

    def expected(rows, column):
        asked.append((column, rows.tolist()))
        return np.zeros(len(rows)), np.ones(len(rows))

    reasons([[9.0, 1.0, -1.0], [8.0, -1.0, -1.0], [-1.0, -1.0, 7.0]], np.ones((3, 3)) * 5, expected=expected)
    assert asked == [(0, [0, 1]), (1, [0]), (2, [2])]


def test_an_unbounded_range_is_none_and_not_said():
    [[reason]] = reasons([0.0, 0.0, 9.0], [1, 2, 65], expected=ranges(-math.inf, math.nan))
    assert reason.low is None
    assert reason.high is None
    assert reason.words == "air_time 65"


def test_a_missing_value_has_no_range_and_says_how_often_it_is_there():
    said = [Said("missing", "arr_delay is missing; observed in 97 % of such records")]
    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, math.nan, 3], named=lambda r, c: said, expected=ranges(0, 1))
    assert reason.observed is None
    assert reason.low is None
    assert reason.observed_text == "missing"
    assert reason.words == "arr_delay is missing; observed in 97 % of such records"


def test_a_missing_value_without_probabilities_claims_nothing():
    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, math.nan, 3])
    assert reason.words == "arr_delay is missing"


def test_a_value_that_is_ordinary_but_should_be_missing_says_so():
    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, 12, 3], expected=ranges(0, 30), named=usual("missing", 0.98))
    assert reason.words == "arr_delay 12; missing in 98 % of such records"


def test_contrasts_rank_before_shares_and_small_ones_are_no_reason():
    contrasts = np.array([[1.9, 30.0, 2.1]])
    [found] = reasons([9.0, 1.0, -3.0], [1, 2, 3], contrasts=contrasts)
    assert [(r.column, r.contrast, r.share) for r in found] == [("arr_delay", 30.0, 1.0), ("air_time", 2.1, -3.0)]
    [found] = reasons_for(["a"], COLUMNS, values=np.ones((1, 3)), contrasts=np.array([[0.1, 0.3, 0.2]]))
    assert [r.column for r in found] == ["arr_delay"]
    assert math.isnan(found[0].share)
    with pytest.raises(ValueError, match="contrasts or shares"):
        reasons_for(["a"], COLUMNS, values=np.ones((1, 3)))


def test_the_best_value_is_told_as_a_number_and_as_text():
    best = lambda rows, column: [Best(114.0, "114 min")] * len(rows)  # noqa: E731
    [[reason]] = reasons([0.0, 0.0, 9.0], [1, 2, 65], best=best)
    assert (reason.best, reason.best_text) == (114.0, "114 min")
    [[reason]] = reasons([0.0, 0.0, 9.0], [1, 2, 65], best=best, redact=["air_time"])
    assert (reason.best, reason.best_text) == (None, "")


def test_the_first_reason_says_under_which_context_it_is_odd():
    [[first, second]] = reasons([0.0, 8.0, 9.0], [1, 2, 65], expected=ranges(100, 120), settings=["LGA, ATL"])
    assert first.words == "air_time 65; 100 to 120 expected for LGA, ATL"
    assert second.words == "arr_delay 2; 100 to 120 expected"


PAIR = Pair((0, 1), 40.0, (10.0, 12.0), (-8.0, -20.0), (40.0, 45.0))


def test_a_pair_comes_first_with_ranges_without_both():
    def ask(rows, column):
        assert column == 2, "what is said of a pair is known"
        return np.zeros(1), np.ones(1)

    [[one, two, three]] = reasons([0.0, 0.5, 9.0], [1137, 1127, 65], pairs={0: PAIR}, expected=ask)
    assert one.words == "dep_delay 1,137 and arr_delay 1,127; -8 to 40 and -20 to 45 expected together"
    assert (one.column, one.partner, one.contrast, one.low, one.high) == ("dep_delay", "arr_delay", 40.0, -8.0, 40.0)
    assert two.words == "arr_delay 1,127; -20 to 45 expected together with dep_delay"
    assert (two.best, two.best_text, three.column) == (12.0, "12", "air_time")
    [[only]] = reasons([0.0, 0.5, 9.0], [1137, 1127, 65], pairs={0: PAIR}, top=1)
    assert only.partner == "arr_delay"


def test_a_pair_with_a_redacted_column_is_not_told():
    [found] = reasons([1.0, 0.5, 9.0], [1137, 1127, 65], pairs={0: PAIR}, redact=["dep_delay"])
    assert all(reason.partner is None for reason in found)
    assert "1,137" not in str(found)


def test_values_and_ranges_of_redacted_columns_never_leave():
    def expected(rows, column):
        raise AssertionError("a redacted column's range was asked for")

    [[reason]] = reasons([-1.0, 48151.62, -1.0], [1, 4815162342, 3], redact=["arr_delay"], expected=expected)
    assert reason.words == "arr_delay is unusual (its values are redacted)"
    assert "4815" not in str(dataclasses.replace(reason, share=0.0, term=0.0))
    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, math.nan, 3], redact=["arr_delay"])
    assert "missing" not in str(reason)


def test_no_records_have_no_reasons():
    empty = np.empty((0, 3))
    assert reasons_for([], COLUMNS, shares=empty, terms=empty, values=empty) == []


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="values has shape"):
        reasons([1.0, 2.0, 3.0], [1, 2])


def usual(text: str, probability: float, words: str = ""):
    """`named` for cells that all stand beside the same usual value."""
    return lambda rows, column: [Said("?", words, None if words else (text, probability))] * len(rows)


@pytest.mark.parametrize(
    ("value", "probability", "said"),
    [
        (12, 0.98, "arr_delay 12; 0 in 98 % of such records"),
        (99, 0.98, "arr_delay 99; 0 to 30 expected; 0 in 98 % of such records"),
        (99, 0.4, "arr_delay 99; 0 to 30 expected"),
        (12, 0.4, "arr_delay 12; within the expected 0 to 30"),
    ],
)
def test_a_value_beside_a_usual_one_tells_both_what_fits_not(value, probability, said):
    named = usual("0", probability)
    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, value, 3], expected=ranges(0, 30), named=named)
    assert reason.words == said
    assert (reason.observed, reason.low, reason.high) == (value, 0, 30)


def test_a_cell_with_words_of_its_own_needs_no_range():
    def expected(rows, column):
        raise AssertionError("the range of an atom was asked for")

    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, 0, 3], expected=expected, named=usual("", 0, "arr_delay 0 in 1 %"))
    assert (reason.words, reason.observed_text, reason.observed, reason.low) == ("arr_delay 0 in 1 %", "?", 0, None)


def test_a_redacted_column_is_never_named():
    def named(rows, column):
        raise AssertionError("the value of a redacted column was asked for")

    [[reason]] = reasons([-1.0, 9.0, -1.0], [1, 0, 3], redact=["arr_delay"], named=named)
    assert reason.words == "arr_delay is unusual (its values are redacted)"
