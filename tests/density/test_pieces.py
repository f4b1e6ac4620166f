"""Large batches in pieces."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import maf
from flowguard.density.pieces import PIECE, length, pieces


@pytest.mark.parametrize("records", [0, 1, 16, PIECE, PIECE + 16, 3 * PIECE, 16 * 1009, 10 * PIECE + 7])
def test_every_record_is_in_one_piece(records: int) -> None:
    x = torch.arange(float(records)).unsqueeze(1)
    with torch.no_grad():
        found = list(pieces(x, x + 1, None))
    assert torch.equal(torch.cat([piece for piece, _, _ in found]), x)
    assert all(torch.equal(context, piece + 1) for piece, context, _ in found if context is not None)


@pytest.mark.parametrize("records", [16, PIECE + 16, 3 * PIECE, 16 * 1009, 48 * PIECE])
def test_pieces_of_a_tile_are_equally_long(records: int) -> None:
    assert records % length(records) == 0
    assert length(records) % 16 == 0


def test_a_record_has_the_same_bits_in_any_piece() -> None:
    flow = maf(3, hidden=(40,), layers=2).double().eval()
    x = torch.randn(2 * PIECE * torch.get_num_threads() + 32, 3, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(flow.log_prob(x.flip(0)), flow.log_prob(x).flip(0))
