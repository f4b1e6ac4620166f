"""Whether all values are so small that a bound changes none of them."""

from __future__ import annotations

import torch
from torch import Tensor


def within(values: Tensor, bound: float) -> bool:
    """Whether no value lies beyond +-`bound`, NaN included: then what bends beyond it has nothing to do.

    Only for maps that return such values to the last bit, so that a record's result does not depend on what stands
    beside it. False on other devices than a CPU, which would have to wait for the answer.

    Example:
        >>> within(torch.tensor([-3.0, 2.0]), 3.0), within(torch.tensor([float("nan")]), 3.0)
        (True, False)
    """
    if values.device.type != "cpu":
        return False
    if not values.numel():
        return True
    low, high = torch.aminmax(values.detach())
    return low.item() >= -bound and high.item() <= bound
