from __future__ import annotations

import struct
import warnings

import pytest

from flowguard.reports import run_picture
from tests.reports.sample import record, run_report


def size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", png[16:24])


def test_the_picture_is_a_png_of_a_readme_s_width():
    width, height = size(run_picture(run_report()))
    assert width == 1680
    assert 600 < height < 1400


def test_the_same_run_gives_the_same_bytes():
    assert run_picture(run_report()) == run_picture(run_report())


def test_more_records_make_it_taller_up_to_the_rows_asked_for():
    heights = [size(run_picture(run_report(strangest=[record()] * n), rows=6))[1] for n in (0, 3, 6, 20)]
    assert heights[0] < heights[1] < heights[2] == heights[3]


@pytest.mark.parametrize(
    "odd",
    [
        record(key={"$\\frac{": "$x"}, reasons=[]),
        record(key={f"k{i}": "v" * 50 for i in range(20)}),
        record(key={}),
        record(key={"name": "東京"}),
    ],
)
def test_odd_keys_do_not_break_it(odd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        size(run_picture(run_report(strangest=[odd, record()], holdout=None)))


def test_redacted_keys_are_not_drawn():
    shown = record(key={"flight": 1499})
    hidden = record(key={"ssn": "078-05-1120", "flight": 1499})
    pictures = [run_picture(run_report(strangest=[r], redact=["ssn"])) for r in (shown, hidden)]
    assert pictures[0] == pictures[1]
