"""The context embedding."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import ContextEmbedding


def test_levels_differ_and_a_missing_that_never_occurred_is_as_unseen() -> None:
    torch.manual_seed(0)
    embed = ContextEmbedding(0, [6, 4]).eval()
    with torch.no_grad():
        embed.levels[0] = torch.randn(64)
    codes = torch.tensor([[0, 2], [1, 2], [2, 2], [3, 2], [2, 3]])
    out = embed(torch.zeros(5, 0), codes)
    assert torch.equal(out[0], out[1])
    distinct = torch.cdist(out[[0, 2, 3, 4]], out[[0, 2, 3, 4]])
    assert (distinct + torch.eye(4) > 1e-3).all()


def test_unseen_is_trained_by_losing_codes_in_training_alone() -> None:
    torch.manual_seed(0)
    embed = ContextEmbedding(0, [50], dropout=0.5)
    codes = torch.full((2000, 1), 7)
    as_unseen = embed.eval()(torch.zeros(1, 0), torch.zeros(1, 1, dtype=torch.long))
    assert not torch.equal(embed(torch.zeros(1, 0), codes[:1]), as_unseen)
    lost = (embed.train()(torch.zeros(2000, 0), codes) == as_unseen).all(1).double().mean()
    assert 0.45 < lost < 0.55
    embed.eval()
    assert torch.equal(embed(torch.zeros(2000, 0), codes), embed(torch.zeros(2000, 0), codes))


def test_no_context_gives_no_columns() -> None:
    embed = ContextEmbedding(0, [])
    assert embed.out_features == 0
    assert embed(torch.zeros(4, 0), torch.zeros(4, 0, dtype=torch.long)).shape == (4, 0)
    assert not list(embed.parameters())


def test_numbers_alone_and_codes_alone_work_for_any_number_of_rows() -> None:
    for numeric, cardinalities in ((3, []), (0, [5]), (2, [5, 3])):
        embed = ContextEmbedding(numeric, cardinalities, width=8)
        for rows in (0, 1, 5):
            codes = torch.zeros(rows, len(cardinalities), dtype=torch.long)
            assert embed(torch.ones(rows, numeric), codes).shape == (rows, 8)


def test_far_out_numbers_stay_finite() -> None:
    embed = ContextEmbedding(1, [])
    out = embed(torch.tensor([[1e30], [-1e30]]), torch.zeros(2, 0, dtype=torch.long))
    assert out.abs().max() < 1e5


def test_codes_and_shapes_outside_what_was_declared_are_refused() -> None:
    embed = ContextEmbedding(1, [3, 4])
    for codes in ([3, 0], [0, 4], [-1, 0]):
        with pytest.raises(IndexError, match="outside its column"):
            embed(torch.zeros(1, 1), torch.tensor([codes]))
    with pytest.raises(ValueError, match="should be"):
        embed(torch.zeros(1, 2), torch.tensor([[0, 0]]))
    with pytest.raises(ValueError, match="codes unseen and missing"):
        ContextEmbedding(0, [1])
    with pytest.raises(ValueError, match="dropout"):
        ContextEmbedding(0, [3], dropout=1.0)
