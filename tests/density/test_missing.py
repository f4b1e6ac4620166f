"""The probability of missing values."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from flowguard.density import MissingMask
from flowguard.density.seeding import seeded


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


@pytest.mark.parametrize("backoff", [0.01, 0.1, 0.5])
def test_a_bit_is_never_less_probable_than_backoff_times_what_the_bits_before_it_say(backoff: float) -> None:
    """Whatever the context makes the network believe, wild weights included."""
    mask = perturbed(MissingMask(3, [0, 1, 2], context=2, training_rows=50, backoff=backoff), scale=3.0)
    generator = torch.Generator().manual_seed(2)
    given = 10 * torch.randn(40, 2, generator=generator, dtype=torch.float64).repeat_interleave(8, 0)
    masks = every_mask(3).repeat(40, 1)
    terms = mask.log_prob(masks, given)
    assert mask.network is not None
    # With no correction by the context both parts of the mixture say the same.
    with torch.no_grad():
        for parameter in mask.network.parameters():
            parameter.zero_()
    alone = mask.log_prob(masks, given)
    assert torch.allclose(alone, alone[:8].repeat(40, 1), atol=1e-12), "the part without context does not see it"
    assert (terms >= math.log(backoff) + alone - 1e-12).all()
    assert (terms - alone).abs().max() > 0.3
    assert torch.allclose(terms.sum(-1).exp().view(40, 8).sum(1), torch.ones(40, dtype=torch.float64), atol=1e-12)


def test_columns_that_go_missing_together_are_learned() -> None:
    """5 % of the records lack all three columns (a broken feed), 2 % the last alone; nothing else happens."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    draw = torch.rand(n, generator=generator)
    masks = torch.ones(n, 3, dtype=torch.bool)
    masks[draw < 0.05] = False
    masks[(draw >= 0.05) & (draw < 0.07), 2] = False
    context = torch.randn(n, 2, generator=generator)
    with seeded(1):
        mask = MissingMask(3, [0, 1, 2], context=2, training_rows=n)
    optimizer = torch.optim.AdamW(mask.parameters(), lr=0.01)
    for step in range(300):
        rows = slice(step * 500 % n, step * 500 % n + 500)
        optimizer.zero_grad()
        (-mask.log_prob(masks[rows], context[rows]).sum(-1).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        chances = {
            name: mask.log_prob(torch.tensor([[bit == "1" for bit in name]]).expand(500, 3), context[:500])
            .sum(-1)
            .exp()
            .mean()
            .item()
            for name in ("111", "000", "110", "011", "101")
        }
    assert chances["111"] == pytest.approx(0.93, abs=0.02)
    assert chances["000"] == pytest.approx(0.05, abs=0.015), "not 0.05 ** 3"
    assert chances["110"] == pytest.approx(0.02, abs=0.01)
    assert 0 < chances["011"] < 0.01
    assert 0 < chances["101"] < 0.01


def test_the_context_tells_when_columns_go_missing() -> None:
    generator = torch.Generator().manual_seed(3)
    context = torch.randn(4000, 1, generator=generator)
    masks = torch.rand(4000, 1, generator=generator) < torch.where(context > 0, 0.4, 0.98)
    with seeded(1):
        mask = MissingMask(1, [0], context=1, training_rows=4000)
    optimizer = torch.optim.AdamW(mask.parameters(), lr=0.01)
    for step in range(300):
        rows = slice(step * 500 % 4000, step * 500 % 4000 + 500)
        optimizer.zero_grad()
        (-mask.log_prob(masks[rows], context[rows]).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        chance = mask.log_prob(torch.ones(2, 1, dtype=torch.bool), torch.tensor([[1.0], [-1.0]])).exp()[:, 0]
    assert chance[0].item() == pytest.approx(0.4, abs=0.1)
    assert chance[1].item() == pytest.approx(0.98, abs=0.05)


def test_a_weight_of_the_context_free_part_outside_of_0_and_1_is_refused() -> None:
    for backoff in (0.0, 1.0):
        with pytest.raises(ValueError, match="backoff"):
            MissingMask(1, [0], context=0, training_rows=1, backoff=backoff)
