"""Memory that is used again and again while records are scored."""

from __future__ import annotations

import math
import threading
from typing import cast

import torch
from torch import Tensor

LARGEST = 2**24
"""Bytes: room for more is not kept."""

_kept = threading.local()


def scratch(name: str, like: Tensor, *shape: int) -> Tensor:
    """Room of that shape, dtype and device, holding anything; the caller's until the next request of that name.

    An allocator gives megabytes back to the system as soon as they are free, and to get them again costs as much as to
    fill them several times. Kept for each thread by itself. Never for what autograd keeps or a caller gets to see.

    Example:
        >>> first, second = (scratch("example", torch.zeros(0), rows, 3) for rows in (2, 1))
        >>> first.data_ptr() == second.data_ptr(), second.shape
        (True, torch.Size([1, 3]))
    """
    size = math.prod(shape)
    if like.device.type != "cpu" or size * like.element_size() > LARGEST:
        return like.new_empty(shape)
    # What was made in inference mode cannot be written to outside it.
    key = (name, like.dtype, torch.is_inference_mode_enabled())
    pool = cast("dict[tuple[str, torch.dtype, bool], Tensor]", _kept.__dict__)
    room = pool.get(key)
    if room is None or room.numel() < size:
        room = pool[key] = torch.empty(size, dtype=like.dtype)
    return room[:size].view(shape)
