from __future__ import annotations

import math

import pytest

from flowguard.reports import BatchSummary, RateLine, href
from tests.reports.sample import batch_report, record


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "https://example.org/", "//example.org/x", "/etc/passwd", "data:text/html,x"],
)
def test_a_link_that_is_not_relative_is_refused(link):
    for make in (
        lambda: record(href=link),
        lambda: batch_report(run_href=link),
        lambda: batch_report(following=("next", link)),
        lambda: BatchSummary("a", 1, 1, 0, 0, 0.0, 0.0, 0.0, link),
    ):
        with pytest.raises(ValueError, match="relative"):
            make()


@pytest.mark.parametrize(
    "name",
    ["a b.html", "batches/x#1?.html", "batches/day=2013-05-25.html", 'q".html', "über.html", "c:d.html"],
)
def test_any_file_name_becomes_a_link_that_a_page_accepts(name):
    assert record(href=href(name)).href.isascii()


def test_rates_are_shares_of_scored_records():
    assert batch_report(scored=200, flagged=3).observed_rate == 0.015
    assert math.isnan(batch_report(scored=0, flagged=0).observed_rate)
    assert math.isnan(BatchSummary("a", 3, 0, 3, 0, math.nan, math.nan, math.nan).share)


def test_a_rate_is_within_up_to_three_standard_errors():
    assert RateLine("a", 1000, 1, 0.001, 0.004, 0.001).within
    assert not RateLine("a", 1000, 1, 0.001, 0.0041, 0.001).within
    assert not RateLine("a", 0, 0, 0.001, math.nan, math.nan).within
