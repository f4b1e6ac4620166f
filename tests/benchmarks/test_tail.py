"""The benchmark of tails: rates are multiples of what was asked, below every rank."""

from __future__ import annotations

import numpy as np
import pytest
import tail


@pytest.mark.parametrize("name", tail.KNOWN)
def test_real_rates_are_of_the_order_of_those_asked(name: str) -> None:
    found = tail.rates(name, 1000, runs=5)
    assert found.shape == (5, 2)
    # Where scores end abruptly, a tail that goes on flags nothing: 0.
    assert 0 <= np.median(found[:, 0]) < 10
