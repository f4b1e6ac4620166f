from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.reports import (
    AliasLine,
    BatchSummary,
    CalibrationCurve,
    CellLine,
    EstimateLine,
    RateLine,
    VersionReport,
    render_version,
)


def version_report(**more: Any) -> VersionReport:
    scores = np.sort(np.random.default_rng(0).gamma(2.0, 1.5, 400))
    curve = CalibrationCurve(scores, np.arange(400, 0, -1) / 400, 400, 0.01, float(scores[-5]))
    held = RateLine("Hold-out", 2000, 23, 0.01, 0.0115, 0.002, 17, "day")
    given: dict[str, Any] = {
        "pipeline": "flights",
        "version": "3",
        "digest": "9f3ac1d2b4e5f6a7b8c9",
        "family": "maf",
        "score": "largest",
        "policy": "false alarm rate 1 %",
        "asked_rate": 0.01,
        "curve": curve,
        "cells": [CellLine("carrier=UA", 300, 7.4, held), CellLine("carrier=<b>", 100, 8.1)],
        "rows": 800,
        "units": 20,
        "aliases": ["champion"],
        "features": ["dep_delay (min)"],
        "given": ["carrier"],
        "settings": [("layers", 3)],
        "history": [{"epoch": i, "train_nll": 12.0 - i, "validation_nll": 12.5 - i} for i in (1, 2, 3)],
        "kept": {"density": 3, "mass": 1},
        "holdout_log_likelihood": -11.06,
        "holdout": held,
        "dates": ("2013-01-03", "2013-04-28"),
        "records": {"train": 64_230},
        "batches": [BatchSummary("2013-05-01", 900, 899, 1, 4, math.nan, math.nan, math.nan, "batch-2013-05-01.html")],
        "estimates": [EstimateLine("precision", "62 % (36 to 85 %)", "share of flagged", 40)],
        "changes": [AliasLine("champion", 2, 3, "ada", "fewer <false> alarms", "2026-11-27 21:47")],
    }
    return VersionReport(**(given | more))


def test_the_page_is_one_file_without_network_or_script() -> None:
    page = render_version(version_report())
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert "<style>" in page
    assert "hx-get" not in page
    assert len(page) < 300_000


def test_everything_that_is_known_of_the_version_is_on_it() -> None:
    page = render_version(version_report(left_out="3 records were left out.", recalibrated="From version 1.")).replace(
        "\u00a0", " "
    )
    for words in (
        "version 3",
        "champion",
        "best: 9.5 in epoch 3",
        "density of epoch 3, mass of epoch 1",
        "carrier=UA",
        '<span class="short">2013-01-03</span> to <span class="short">2013-04-28</span>',
        "800 records of 20 days",
        "62 % (36 to 85 %), 40 decided records",
        "3 records were left out.",
        "From version 1.",
        '<a href="batch-2013-05-01.html" data-open>',
        "dep_delay (min)",
        "64,230",
        "they agree within two standard errors",
    ):
        assert words in page, words
    assert page.count("<svg") == 6


def test_text_of_data_and_of_people_is_escaped() -> None:
    page = render_version(version_report())
    assert "carrier=&lt;b&gt;" in page
    assert "fewer &lt;false&gt; alarms" in page


def test_a_version_that_has_no_number_yet_is_called_by_its_bundle() -> None:
    page = render_version(version_report(version="", batches=[], changes=[], estimates=[], aliases=[]))
    assert "bundle 9f3ac1d2b4e5" in page
    assert "What it flagged" not in page
    assert "Nobody has decided on a record that it judged." in page


def test_a_policy_without_a_rate_has_no_threshold() -> None:
    curve = CalibrationCurve(np.array([1.0, 2.0]), np.array([1.0, 0.5]), 2, 0.05, math.nan)
    page = render_version(
        version_report(
            policy="budget 20",
            asked_rate=math.nan,
            curve=curve,
            cells=[CellLine("all", 2, math.nan)],
            holdout=None,
            history=[],
        )
    )
    assert "budget 20" in page
    assert '<td class="num">–</td>' in page
    assert "nan" not in page.lower().replace("nann", "")


def test_links_of_a_version_are_relative() -> None:
    for name in ("run_href", "drift_href", "batches_href"):
        with pytest.raises(ValueError, match="relative"):
            version_report(**{name: "https://example.org"})


def test_the_curve_is_over_all_cells_in_ascending_order() -> None:
    n = 5000
    rng = np.random.default_rng(0)
    made = Calibration.fit(
        Parts(np.zeros(n), -rng.gamma(2.0, 1.5, n), np.full(n, "1")), np.arange(n), policy=FalseAlarmRate(0.01)
    )
    curve = CalibrationCurve.of(made)
    assert (np.diff(curve.scores) >= 0).all()
    assert (curve.size, curve.asked, curve.threshold) == (n, 0.01, made.threshold)
    assert curve.shares[0] == 1.0
    assert curve.shares[-1] == 1 / n
    assert len(curve.scores) <= 2000
