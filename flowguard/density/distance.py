"""Squared distances between records, and the sums of Gaussians over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from flowguard.density.masked import ALIGNED


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b.T with the inputs filled up to a multiple of `ALIGNED`, `(n, k)` by `(N, k)` -> `(n, N)`."""
    short = -a.shape[-1] % ALIGNED
    return functional.linear(functional.pad(a, (0, short)), functional.pad(b, (0, short)))


def square_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances `(n, N)` of the rows of a `(n, k)` and b `(N, k)`."""
    return product(-2 * a, b).add_((b * b).sum(-1)).add_((a * a).sum(-1, keepdim=True))


def log_sums(distance: Tensor, width: Tensor) -> Tensor:
    """log sum over N of exp(-distance / (2 width^2)) for each width `(s,)`: `(n, N)` -> `(s, n)`.

    Exponentials cost most. Those of a width half as large are the fourth power of what there is already.

    Example:
        >>> log_sums(torch.tensor([[0.0, 2.0]]).double(), torch.tensor([1.0, 2.0])).exp().round(decimals=4).tolist()
        [[1.3679], [1.7788]]
    """
    least, found, sizes = distance.amin(-1, keepdim=True), {}, width.tolist()
    here, shrunk = torch.empty(0), math.inf
    for s in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        halvings = math.log2(shrunk / sizes[s])
        if halvings <= 4 and halvings == round(halvings):
            for _ in range(2 * round(halvings)):
                here.mul_(here)
        else:
            here = (least - distance).div_(2 * width[s] ** 2).exp_()
        shrunk = sizes[s]
        found[s] = here.sum(-1).log() - least.squeeze(-1) / (2 * width[s] ** 2)
    return torch.stack([found[s] for s in range(len(sizes))])
