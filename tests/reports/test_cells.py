from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import pandas as pd
import pytest

from flowguard.reports.cells import cell


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2013, "2013"),
        (np.int64(2013), "2013"),
        (1137.0, "1137"),
        (np.float32(0.5), "0.5"),
        (1e300, "1e+300"),
        (math.inf, "inf"),
        (True, "true"),
        (np.False_, "false"),
        (None, "missing"),
        (math.nan, "missing"),
        (pd.NaT, "missing"),
        (pd.NA, "missing"),
        (datetime.date(2013, 5, 25), "2013-05-25"),
        (datetime.datetime(2013, 5, 25), "2013-05-25"),
        (pd.Timestamp("2013-05-25 17:00"), "2013-05-25 17:00:00"),
        (decimal.Decimal("1.50"), "1.50"),
        (b"\x00", "b'\\x00'"),
        ("a\tb\nc", "a[U+0009]b[U+000A]c"),
        ("=cmd()", "=cmd()"),
        ("naïve 東京 עברית", "naïve 東京 עברית"),
        ("", ""),
    ],
)
def test_any_value_becomes_one_line_of_text(value, text):
    assert cell(value) == text


def test_long_text_is_cut_and_says_how_long_it_was():
    assert cell("a" * 10_000) == "a" * 120 + "… (10,000 characters)"
    assert cell("a" * 120) == "a" * 120
