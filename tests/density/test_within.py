"""Whether a bound changes anything."""

from __future__ import annotations

import math

import pytest
import torch

from flowguard.density.within import within


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.1, -2.1])
def test_one_value_beyond_or_no_number_is_enough(value: float) -> None:
    assert within(torch.tensor([[0.0, 2.0], [-2.0, 1.0]]), 2.0)
    assert not within(torch.tensor([[0.0, 2.0], [value, 1.0]]), 2.0)


def test_no_values_are_within_any_bound() -> None:
    assert within(torch.zeros(0, 3), 1.0)
