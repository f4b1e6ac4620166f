"""The probability of missing values."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from flowguard.density import MissingMask


def perturbed(mask: MissingMask, *, scale: float = 1.0) -> MissingMask:
    generator = torch.Generator().manual_seed(6)
    mask.double()
    with torch.no_grad():
        for parameter in mask.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return mask


def every_mask(features: int) -> torch.Tensor:
    return torch.tensor(list(product([False, True], repeat=features)))


@pytest.mark.parametrize("maskable", [[], [1], [0, 2], [0, 1, 2, 3]])
@pytest.mark.parametrize("context", [0, 2])
def test_the_probabilities_of_all_masks_sum_to_one(maskable: list[int], context: int) -> None:
    mask = perturbed(MissingMask(4, maskable, context=context, training_rows=50))
    given = torch.ones(16, context, dtype=torch.float64)
    total = mask.log_prob(every_mask(4), given).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


def test_a_column_never_missing_in_training_has_the_laplace_probability() -> None:
    mask = perturbed(MissingMask(3, [1], context=0, training_rows=998))
    terms = mask.log_prob(torch.tensor([[False, True, True]]), torch.zeros(1, 0, dtype=torch.float64))
    assert terms[0, 0].exp().item() == pytest.approx(1 / 1000)
    assert terms[0, 2].exp().item() == pytest.approx(999 / 1000)


def test_a_bit_depends_on_the_context_and_on_earlier_bits_only() -> None:
    mask = perturbed(MissingMask(3, [0, 2], context=1, training_rows=5))
    zeros, ones = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    full, last, first = (torch.tensor([b]) for b in ([True] * 3, [True, True, False], [False, True, True]))
    assert mask.log_prob(full, zeros)[0, 0] != mask.log_prob(full, ones)[0, 0]
    assert mask.log_prob(full, zeros)[0, 0] == mask.log_prob(last, zeros)[0, 0]
    assert mask.log_prob(full, zeros)[0, 2] != mask.log_prob(first, zeros)[0, 2]


def test_no_mask_is_impossible_whatever_was_learned() -> None:
    mask = perturbed(MissingMask(3, [0, 1, 2], context=1, training_rows=5), scale=1e4).float()
    assert mask.log_prob(every_mask(3), torch.full((8, 1), 1e3)).min() > -21


def test_sampled_masks_follow_their_probabilities() -> None:
    mask = perturbed(MissingMask(3, [0, 2], context=1, training_rows=8))
    n = 20_000
    drawn = mask.sample(torch.ones(n, 1, dtype=torch.float64), generator=torch.Generator().manual_seed(1))
    expected = mask.log_prob(every_mask(3), torch.ones(8, 1, dtype=torch.float64)).sum(-1).exp()
    found = torch.stack([(drawn == one).all(1).double().mean() for one in every_mask(3)])
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / n).sqrt() + 1e-4).all()


def test_columns_that_do_not_exist_are_refused() -> None:
    for maskable in ([3], [1, 0], [0, 0]):
        with pytest.raises(ValueError, match="maskable"):
            MissingMask(3, maskable, context=0, training_rows=1)
    with pytest.raises(ValueError, match="training_rows"):
        MissingMask(3, [], context=0, training_rows=-1)
