"""Seeds: initial weights and column orders that a seed decides, leaving the global generator alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights drawn inside depend on `seed` alone; the global generator is afterwards as it was before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def permutations(length: int, *, seed: int) -> Iterator[tuple[int, ...]]:
    """Endless random orders of `range(length)`.

    They are part of a stored model, so they come from the one generator whose sequence is promised to stay
    the same across versions: Python's `random.Random(seed).random()`.
    """
    source = random.Random(seed)
    while True:
        keys = [source.random() for _ in range(length)]
        yield tuple(sorted(range(length), key=keys.__getitem__))
