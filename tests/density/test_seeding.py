"""Seeds."""

from __future__ import annotations

from itertools import islice

import torch

from flowguard.density.seeding import permutations, seeded


def test_what_is_drawn_inside_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(5):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected)
    with seeded(5):
        assert torch.equal(torch.rand(2), first)


def test_permutations_are_of_all_places_and_repeat_with_their_seed() -> None:
    drawn = list(islice(permutations(6, seed=1), 5))
    assert all(sorted(order) == list(range(6)) for order in drawn)
    assert len(set(drawn)) > 1
    assert drawn == list(islice(permutations(6, seed=1), 5))
