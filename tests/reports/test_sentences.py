from __future__ import annotations

import math

import pytest

from flowguard.reports import RateLine, sentences
from tests.reports.sample import batch_report, run_report


def line(observed: float, error: float = 0.0002, scored: int = 27000, units: int = 30) -> RateLine:
    return RateLine("June", scored, round(observed * scored) if scored else 0, 0.001, observed, error, units)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0 %"),
        (0.001, "0.10 %"),
        (0.00099, "0.099 %"),
        (0.0123, "1.23 %"),
        (0.5, "50 %"),
        (1e-6, "0.0001 %"),
        (math.nan, "–"),
    ],
)
def test_small_rates_keep_their_digits(share, text):
    assert sentences.rate(share) == text


def test_a_p_value_is_never_shown_as_nought():
    assert sentences.probability(1.2e-5) == "0.000012"
    assert sentences.probability(3e-9) == "3.0e-09"
    assert sentences.probability(math.nan) == "–"


def test_a_rate_that_holds_is_said_to_hold():
    said = sentences.on_rate(line(0.0011))
    assert "0.10 % asked, 0.11 % observed" in said
    assert "clustered over 30 days" in said
    assert said.endswith("they agree within two standard errors.")


def test_a_rate_that_does_not_hold_is_said_plainly_with_what_follows():
    said = sentences.on_rate(line(0.0023))
    assert "2.3 times the rate asked for, 6 standard errors away" in said
    assert "as a ranking, not as a rate of false alarms" in said


def test_a_rate_that_may_be_off_by_chance_is_not_called_fine_either():
    said = sentences.on_rate(line(0.0015))
    assert "1.5 times the rate asked for, 2.5 standard errors away. That may be chance" in said


def test_a_rate_too_low_is_not_called_fine():
    assert sentences.verdict(line(0.00001)) == "0.0 times"
    assert sentences.verdict(line(0.01)) == "10 times"
    assert sentences.verdict(line(0.0011)) == "as asked"


def test_a_difference_without_any_spread_is_more_than_chance():
    assert "more than any chance away" in sentences.on_rate(line(0.002, error=0.0))


@pytest.mark.parametrize("given", [line(math.nan, scored=0), line(0.002, error=math.nan)])
def test_what_cannot_be_judged_is_not_judged(given):
    assert sentences.verdict(given) == "too few"
    assert "too few days" in sentences.on_rate(given)


def test_a_batch_is_summed_up_against_what_chance_would_flag():
    said = sentences.on_batch(batch_report(scored=861, flagged=4))
    assert said == (
        "4 of 861 scored records were flagged (0.46 %); "
        "at the level asked for (0.10 %) about 0.9 would be expected by chance."
    )
    assert sentences.on_batch(batch_report(flagged=0)).startswith("None of 861 scored records was flagged; at")


def test_a_run_is_summed_up_over_its_batches():
    said = sentences.on_run(run_report())
    assert "26,970 scored records in 30 batches were flagged" in said
    assert "about 27 would be expected by chance" in said


def test_a_line_may_say_itself_what_it_was_clustered_by():
    held = RateLine("Hold-out", 371, 5, 0.01, 0.0135, 0.0072, 371, "record")
    assert "clustered over 371 records" in sentences.on_rate(held, unit="batch")
