"""The velocity field of a continuous flow, with its divergence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowguard.density.bijection import hold
from flowguard.density.masked import ALIGNED

HARMONICS = 4
"""Each weight is a sum of so many cosines of time, the first of them constant."""

# No column ever moves faster than this, in deviations per unit of time. With the affine map before the field (location
# within 200, scale at least e**-2: `transformers/by_name.py`), (1000 - 200) * e**-2 - 40 > (10 + 200) * e**-2 + 40:
# a thousand ends further out than ten, whatever was learned, and an input that is finite stays finite.
FASTEST = 40.0
# The norm of each unit's weights stays below this: a field as steep as a wall is beyond any fixed number of steps.
STEEPEST = 30.0


@dataclass(frozen=True)
class Moment:
    """The network at one time: `weights` from the input to the velocity, `shifts` of the hidden layers."""

    weights: tuple[Tensor, ...]
    shifts: tuple[Tensor, ...]
    pair: Tensor | None
    aligned: bool


class Field(nn.Module):
    """dx/dt = f(x, t | context), a tanh network whose weights are smooth functions of time.

    Sources: Chen et al. 2018 (Neural ordinary differential equations), Grathwohl et al. 2019 (FFJORD); weights as
    series in time: Massaroli et al. 2020 (Dissecting neural ODEs). The context enters every hidden layer. Velocities
    are bounded by `FASTEST` and the weights of each unit by `STEEPEST`, so that trajectories exist for all inputs.

    The divergence, the trace of df/dx, is exact: with one hidden layer it is w'(t) act'(..), with two it is a bilinear
    form in the activations' derivatives, tr(C diag(b) B diag(a) A) = b' (B * (A C)') a, which costs one more matrix
    product whatever the number of columns; deeper networks push one tangent per column through.
    """

    def __init__(self, features: int, *, context: int, hidden: Sequence[int]) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden must list positive widths, not {list(hidden)}")
        self.features = features
        sizes = [features, *hidden, features]
        self.weights = nn.ParameterList(
            _series(out, into, gain=0.01 if place == len(hidden) else 1.0)
            for place, (into, out) in enumerate(pairwise(sizes))
        )
        self.from_context = nn.ParameterList(_series(width, context) for width in hidden if context)
        self.biases = nn.ParameterList(0.1 * torch.randn(HARMONICS, width) for width in hidden)

    def conditioned(self, context: Tensor | None) -> list[Tensor]:
        """What the context (None when there is none) adds to each hidden layer, as series in time."""
        if context is None or not len(self.from_context):
            return [bias[None] for bias in self.biases]
        context = self._padded(context)
        return [
            functional.linear(context, self._padded(weight).flatten(0, 1)).unflatten(-1, bias.shape) + bias
            for weight, bias in zip(self.from_context, self.biases, strict=True)
        ]

    def at(self, time: float, conditioned: Sequence[Tensor]) -> Moment:
        """The network at one time in [0, 1], the same for every record but for the shifts."""
        cosines = [math.cos(math.pi * harmonic * time) for harmonic in range(HARMONICS)]
        *inner, last = (self._padded(_summed(weight, cosines, 0)) for weight in self.weights)
        norms = [weight.square().sum(-1, keepdim=True).add(1e-12).sqrt() for weight in inner]
        inner = [weight * (STEEPEST / (STEEPEST + norm)) for weight, norm in zip(inner, norms, strict=True)]
        last = last * (FASTEST / (FASTEST + last.abs().sum(-1, keepdim=True)))
        # What each layer's derivative meets on its way round: see `trace`.
        pair = None
        if len(inner) <= 2:
            loop = inner[0][:, : self.features] @ last[:, : inner[-1].shape[0]]
            pair = self._padded(inner[1][:, : loop.shape[0]] * loop.T) if len(inner) == 2 else loop.diagonal()
        shifts = tuple(_summed(shift, cosines, 1) for shift in conditioned)
        return Moment((*inner, last), shifts, pair, not self.training)

    def _padded(self, values: Tensor) -> Tensor:
        """Filled up with zeros where records are scored, for the reason given at `ALIGNED`."""
        return values if self.training else _padded(values)


def velocity(moment: Moment, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """f `(batch, features)`, and the derivative of every hidden unit there."""
    slopes = []
    for weight, shift in zip(moment.weights, moment.shifts, strict=False):
        x = torch.tanh(_product(x, weight, moment) + shift)
        slopes.append(1 - x * x)
    return _product(x, moment.weights[-1], moment), slopes


def trace(moment: Moment, slopes: Sequence[Tensor], observed: Tensor | None) -> Tensor:
    """The exact divergence over the observed coordinates, `(batch,)`.

    Of each record on its own: a missing column's part is taken off where it is missing, and where it is not, the sum
    keeps its bits.
    """

    def part(column: int) -> Tensor:
        pushed = _pushed(moment, slopes, moment.weights[0][:, column])
        return (pushed * moment.weights[-1][column, : pushed.shape[1]]).sum(-1)

    if moment.pair is None:
        parts = [part(column) for column in range(len(moment.weights[-1]))]
        return hold(torch.stack(parts, -1), observed).sum(-1)
    if len(slopes) == 1:
        total = (slopes[0] * moment.pair).sum(-1)
    else:
        total = (_product(slopes[0], moment.pair, moment) * slopes[1]).sum(-1)
    if observed is not None:
        for column in (~observed).any(0).nonzero().flatten().tolist():
            total = total - hold(part(column), ~observed[:, column])
    return total


def estimate(moment: Moment, slopes: Sequence[Tensor], signs: Tensor) -> Tensor:
    """Hutchinson's unbiased estimate of the divergence, `signs' J signs`, `(batch,)`; 0 in `signs` where missing."""
    pushed = _pushed(moment, slopes, _product(signs, moment.weights[0], moment))
    return (_product(pushed, moment.weights[-1], moment) * signs).sum(-1)


Divergence = Callable[[Moment, Sequence[Tensor]], Tensor]


def _pushed(moment: Moment, slopes: Sequence[Tensor], tangent: Tensor) -> Tensor:
    """The tangent of the last hidden layer, given that of the first one's input sum."""
    tangent = slopes[0] * tangent
    for weight, slope in zip(moment.weights[1:-1], slopes[1:], strict=True):
        tangent = _product(tangent, weight, moment) * slope
    return tangent


def _product(x: Tensor, weight: Tensor, moment: Moment) -> Tensor:
    return functional.linear(_padded(x) if moment.aligned else x, weight)


def _padded(values: Tensor) -> Tensor:
    short = -values.shape[-1] % ALIGNED
    return functional.pad(values, (0, short)) if short else values


def _series(out: int, into: int, *, gain: float = 1.0) -> nn.Parameter:
    """Random coefficients of cosines in time; the constant ones weigh most."""
    scale = torch.tensor([1.0, *[0.3] * (HARMONICS - 1)])[:, None, None]
    return nn.Parameter((torch.rand(HARMONICS, out, into) * 2 - 1) * scale * gain / math.sqrt(max(into, 1)))


def _summed(series: Tensor, cosines: Sequence[float], axis: int) -> Tensor:
    # Term by term: a matrix product of so few terms would not give every row its own bits.
    terms = [part * cosine for part, cosine in zip(series.unbind(axis), cosines, strict=True)]
    return sum(terms[1:], start=terms[0])
