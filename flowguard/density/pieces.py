"""Large batches in pieces whose activations stay in a core's cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 2048
"""Records a thread takes at a time: with 128 hidden units one megabyte in float32."""

_ROWS = 16


def pieces(
    x: Tensor, context: Tensor | None, observed: Tensor | None
) -> Iterator[tuple[Tensor, Tensor | None, Tensor | None]]:
    """Runs of records, their context and what of them is observed.

    All at once on other devices than a CPU, and where gradients are wanted: every activation is kept then, and every
    piece would have derivatives by the weights to add up.

    Example:
        >>> with torch.no_grad():
        ...     found = [len(x) for x, _, _ in pieces(torch.zeros(6 * PIECE, 2), None, None)]
        >>> found == [length(6 * PIECE)] * len(found)
        True
    """
    step = length(len(x)) if x.device.type == "cpu" and not torch.is_grad_enabled() else len(x)
    for start in range(0, max(len(x), 1), max(step, 1)):
        rows = slice(start, start + step)
        yield x[rows], None if context is None else context[rows], None if observed is None else observed[rows]


def length(records: int) -> int:
    """How many records a piece has.

    Products of another length may round otherwise, so tiles (a multiple of 16 records) are cut into equal pieces, or
    not at all: a record has the same bits anywhere in its tile.
    """
    most = PIECE * torch.get_num_threads()
    if records <= most:
        return records
    if records % _ROWS:
        return most
    parts = records // _ROWS
    counts = range(-(-records // most), 4 * -(-records // most))
    return next((records // count for count in counts if parts % count == 0), records)
