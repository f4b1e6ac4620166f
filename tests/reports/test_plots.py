from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest

from flowguard.reports import BatchSummary, score_histogram
from flowguard.reports.plots import MANY, flag_plot, log_scale, score_plot, trend_plot
from tests.reports.sample import summaries


def named(names: list[str]) -> list[BatchSummary]:
    return [replace(b, batch=name) for name, b in zip(names, summaries(len(names)), strict=True)]


def test_each_bar_links_to_its_batch_and_says_its_numbers():
    drawing = flag_plot(summaries(5), 0.001)
    assert drawing.count("<a tabindex") == 5
    assert 'href="batches/2013-06-03.html"' in drawing
    assert "<title>2013-06-03: " in drawing
    assert "of 899)</title>" in drawing


def test_more_batches_than_pixels_are_drawn_as_lines():
    drawing = flag_plot(summaries(MANY + 1), 0.001)
    assert "<title>" not in drawing
    assert len(drawing) < 300_000


def test_dates_are_labelled_as_dates_in_order_of_time():
    drawing = trend_plot(summaries(92, first="2013-05-01"), 12.0)
    for text in (">1 May<", ">1 Jun<", ">1 Jul<"):
        assert text in drawing


def test_other_names_are_labelled_as_they_are_cut_short():
    drawing = flag_plot(named(["north.parquet", "a very long file name.parquet", "$x_1$ & co"]), 0.001)
    assert ">north.parquet<" in drawing
    assert ">a very long f…<" in drawing
    assert ">$x_1$ &amp; co<" in drawing


def test_hostile_names_are_text_in_tick_and_tooltip():
    drawing = flag_plot(named(["<script>", "b"]), 0.001)
    assert "<script>" not in drawing
    assert "&lt;script&gt;" in drawing


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_batches_make_a_plot_without_a_warning(n):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flag_plot(summaries(n), 0.001).startswith("<svg")
        assert trend_plot(summaries(n), 12.0).startswith("<svg")


def test_a_batch_without_scores_leaves_a_gap():
    nan = math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = [*summaries(3), BatchSummary("2013-06-04", 5, 0, 5, 0, nan, nan, nan)]
        assert "nan" not in trend_plot(batches, math.inf)
        assert "nan" not in flag_plot(batches, 0.001)


def test_the_scale_is_logarithmic_only_where_the_asked_level_would_vanish():
    assert not log_scale(summaries(9), 0.001)
    assert log_scale([*summaries(9), replace(summaries(1)[0], batch="2013-07-01", flagged=300)], 0.001)
    assert not log_scale([], 0.001)
    assert not log_scale(summaries(9), 0.0)


def test_scores_beyond_the_edge_are_announced():
    made = score_histogram([1.0, 2.0, 500.0], [1.0, 1.5, 2.0, 2.5], threshold=3.0)
    assert made is not None
    drawing = score_plot(made, 3.0)
    assert "1 beyond →" in drawing
    assert "threshold 3" in drawing


def test_a_threshold_that_no_score_can_pass_is_not_drawn():
    made = score_histogram([1.0, 2.0], [1.0, 1.5, 2.0], threshold=math.inf)
    assert made is not None
    assert "threshold" not in score_plot(made, math.inf)
