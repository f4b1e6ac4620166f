from __future__ import annotations

import pytest

from flowguard.spec.cron import cron_fault


@pytest.mark.parametrize(
    "expression", ["0 6 * * *", "*/5 * * * *", "0 0 1 jan,jul *", "15,45 8-18/2 * * mon-fri", "0 0 * * 7"]
)
def test_what_cron_means_is_taken(expression):
    assert cron_fault(expression) is None


@pytest.mark.parametrize(
    "expression",
    ["", "@daily", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "* * * * 8", "²* * * * *"],
)
def test_what_cron_does_not_mean_is_refused(expression):
    assert cron_fault(expression)
