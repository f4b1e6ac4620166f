"""Encoded records as tensors, and a shuffle buffer over a stream of them.

A table never has to fit into memory: chunks come from a stream in their own order, and the buffer holds a bounded
number of records from which minibatches are drawn at random. A table smaller than the buffer is shuffled perfectly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flowguard.density import Inputs


@dataclass(frozen=True)
class Records:
    """Encoded records: what a density reads, and `log_det` (n, m), the encoder's log-determinant of each number.

    It is 0 where there is no continuous value and does not depend on the weights. It is kept to report likelihoods in
    the table's own units.
    """

    inputs: Inputs
    log_det: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor | slice) -> Records:
        """The records at `index`."""
        return Records(self.inputs.take(index), self.log_det[index])

    def to(self, device: torch.device) -> Records:
        """The same records on another device."""
        return Records(self.inputs.to(device), self.log_det.to(device))

    @staticmethod
    def join(parts: list[Records]) -> Records:
        """Several groups of records as one, in order."""
        if len(parts) == 1:
            return parts[0]
        return Records(Inputs.join([part.inputs for part in parts]), torch.cat([part.log_det for part in parts]))


def shuffled_batches(
    chunks: Iterable[Records], *, batch_size: int, buffer_rows: int, generator: torch.Generator
) -> Iterator[Records]:
    """Minibatches of exactly `batch_size` records drawn through a shuffle buffer; the last one may be smaller.

    At most `buffer_rows` records plus one chunk are held. The order depends only on the stream and the generator.
    """
    buffer: list[Records] = []
    held = 0
    for chunk in chunks:
        if len(chunk) == 0:
            continue
        buffer.append(chunk)
        held += len(chunk)
        if held > buffer_rows:
            # Give away all that exceeds half of the buffer: each record then meets at least half a buffer of others.
            pool = _shuffle(Records.join(buffer), generator)
            give = (held - buffer_rows // 2) // batch_size * batch_size
            yield from _cut(pool.take(slice(0, give)), batch_size)
            buffer, held = [pool.take(slice(give, None))], held - give
    if held:
        yield from _cut(_shuffle(Records.join(buffer), generator), batch_size)


def _shuffle(records: Records, generator: torch.Generator) -> Records:
    return records.take(torch.randperm(len(records), generator=generator))


def _cut(records: Records, batch_size: int) -> Iterator[Records]:
    for start in range(0, len(records), batch_size):
        yield records.take(slice(start, start + batch_size))
