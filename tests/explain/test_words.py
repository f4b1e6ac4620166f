from __future__ import annotations

import math

import pytest

from flowguard.explain import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (65.0, "65"),
        (1137.0, "1,137"),
        (-1137.4, "-1,137"),
        (0.0031, "0.0031"),
        (1.2e9, "1.2e+09"),
        (2.3e-5, "2.3e-05"),
        (0.0, "0"),
        (-0.0, "0"),
        (64.99999999999, "65"),
        (26.25, "26.25"),
        (123456789.0, "123,456,789"),
        (999.96, "1,000"),
        (math.nan, "missing"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_read_as_people_write_them(value, text):
    assert words.number(value) == text


def test_a_quantity_carries_its_unit_unless_there_is_no_quantity():
    assert words.quantity(65.0, "min") == "65 min"
    assert words.quantity(math.nan, "min") == "missing"


@pytest.mark.parametrize(
    ("low", "high", "beside", "text"),
    [
        (107.2, 121.4, 65.0, "107 to 121"),
        (-9.2, 41.5, 1137.0, "-9 to 42"),
        (-0.3, 40.0, 90.0, "0 to 40"),
        (0.00312, 0.00788, 0.02, "0.003 to 0.008"),
        (1.2e9, 3.4e9, None, "1.2e+09 to 3.4e+09"),
        (5.0, 5.0, 7.0, "about 5"),
        (None, 30.0, 31.0, "at most 30"),
        (30.0, math.inf, 3.0, "at least 30"),
        (math.nan, math.nan, 3.0, ""),
        (-math.inf, math.inf, 3.0, ""),
        (None, None, None, ""),
    ],
)
def test_ranges_have_the_decimals_that_their_width_deserves(low, high, beside, text):
    assert words.expected(low, high, beside=beside) == text


@pytest.mark.parametrize("beside", [121.45, 107.1])
def test_rounding_never_hides_that_a_value_lies_outside(beside):
    low, high = words.expected(107.2, 121.4, beside=beside).split(" to ")
    assert not float(low) <= beside <= float(high)


def test_rounding_never_puts_a_value_outside_that_lies_inside():
    low, high = words.expected(107.4, 121.6, beside=107.45).split(" to ")
    assert float(low) <= 107.45 <= float(high)


def test_a_value_outside_its_range_reads_as_in_the_design():
    assert words.value_reason("air_time", 65.0, 107.2, 121.4, unit="min") == "air_time 65 min; 107 to 121 expected"


def test_a_value_inside_its_range_does_not_claim_to_be_outside():
    assert words.value_reason("x", 4.0, -6.0, 20.0) == "x 4; within the expected -6 to 20"


def test_a_value_without_a_range_stands_alone():
    assert words.value_reason("x", 4.0, None, None) == "x 4"
    assert words.value_reason("x", 4.0, -math.inf, math.inf) == "x 4"


def test_a_one_sided_range_says_which_side():
    assert words.value_reason("x", 4.0, -math.inf, 3.0) == "x 4; at most 3 expected"


def test_a_missing_value_says_how_often_it_is_observed_only_where_that_is_known():
    assert words.missing_reason("arr_delay", 0.03) == "arr_delay is missing; observed in 97 % of such records"
    assert words.missing_reason("arr_delay", 1e-6).endswith("observed in more than 99.9 % of such records")
    assert words.missing_reason("arr_delay") == "arr_delay is missing"


def test_percentages_never_round_to_a_false_all_or_nothing():
    assert words.percent(0.99999) == "more than 99.9 %"
    assert words.percent(1e-9) == "less than 0.01 %"
    assert words.percent(0.996) == "99.6 %"
    assert words.percent(1.0) == "100 %"
    assert words.percent(math.nan) == "an unknown share"


def test_a_family_without_shares_is_named_with_what_its_reasons_are():
    assert "the family realnvp" in words.by_contrast("realnvp")


def test_a_setting_is_told_only_where_the_value_is_odd():
    told = [words.value_reason("x", value, 3.0, 9.0, setting="LGA, DL") for value in (1.0, 5.0)]
    assert told == ["x 1; 3 to 9 expected for LGA, DL", "x 5; within the expected 3 to 9"]


def test_what_was_never_missing_before_says_so_in_place_of_a_percentage():
    assert words.missing_reason("fare", 0.001, ever=False) == "fare is missing, which it never was in training"


@pytest.mark.parametrize(
    ("text", "probability", "expected", "said"),
    [
        ("icmp", 0.003, ("tcp", 0.97), "x icmp in 0.3 % of such records; tcp in 97 %"),
        ("icmp", 1e-9, ("missing", 0.9999), "x icmp in less than 0.01 % of such records; missing in more than 99.9 %"),
        ("missing", 0.01, None, "x is missing in 1 % of such records"),
        ("tcp", 0.9, None, "x tcp in 90 % of such records"),
    ],
)
def test_a_level_says_how_often_it_comes_and_what_comes_instead(text, probability, expected, said):
    assert words.level_reason("x", text, probability, expected) == said


def test_only_a_level_that_was_not_there_in_training_is_called_new():
    assert words.unseen_reason("x", "a") == "x a was never seen in training"
    told = words.unseen_reason("x", "a", None, ("b", 0.5))
    assert told == "x a was never seen in training; b in 50 % of such records"
    rare = words.unseen_reason("x", "a", 0.2, ("b", 0.5))
    assert rare == "x a is none of the common ones; one like it in 20 % of such records; b in 50 %"
    assert "never" not in rare


def test_a_number_beside_its_usual_value_names_that():
    assert words.beside_reason("tax", "12.5", ("0", 0.98)) == "tax 12.5; 0 in 98 % of such records"


def test_an_integer_off_its_steps_says_which_numbers_it_can_be():
    assert words.off_lattice_reason("count", "3.5", 1.0, whole=True) == "count 3.5; a whole number expected"
    assert words.off_lattice_reason("price", "3.999", 0.01) == "price 3.999; steps of 0.01 expected"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 東京", "plain é 東京"),
        ("a\u202eb", "a[U+202E]b"),
        ("\x1b[31m", "[U+001B][31m"),
        ("a\nb", "a[U+000A]b"),
    ],
)
def test_text_that_acts_is_shown_as_code_points(text, shown):
    assert words.visible(text) == shown
