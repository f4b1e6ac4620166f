"""The continuous flow: data moved to noise along the trajectories of a learned velocity field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flowguard.density.bijection import Bijection, Chain, hold
from flowguard.density.continuous_field import Divergence, Field, Moment, estimate, trace, velocity
from flowguard.density.coupling import Coupling
from flowguard.density.flow import Flow
from flowguard.density.seeding import seeded
from flowguard.density.transformers import transformer_named
from flowguard.errors import InputError, TrainingError

DivergenceName = Literal["auto", "exact", "hutchinson"]
Backward = Literal["direct", "adjoint"]
WIDEST: Final = 64
"""Columns that a continuous flow takes: beyond, one field for all of them neither learns nor runs well."""
FEW: Final = 8
"""Columns whose tangents are pushed through one by one in training too."""


class Continuous(Bijection):
    """z = x(1), where dx/dt = f(x, t | context) and x(0) = x; log|det dz/dx| is the integral of the divergence of f.

    Sources: Chen et al. 2018 (the instantaneous change of variables), Grathwohl et al. 2019 (FFJORD). Both integrals
    are taken by the classical Runge-Kutta rule in `steps` equal steps, never adaptively: a record's result is its own
    and always the same. Their error falls like `steps`**-4; `step_error` measures it. A missing coordinate stands
    still at 0, and only observed ones count in the divergence.

    Training takes half as many steps, and subtracts from the log-determinant by how much the stages of each step
    disagree: a field that is too rough for its steps would otherwise be rewarded with likelihood that does not exist
    (on a checkerboard, -1.5 nats by 8 steps of a field whose true value is -4.1). So in training mode, and there alone,
    `log_det` is a pessimistic estimate.

    Where records are scored the divergence is exact. In training, `divergence` is `exact`, `hutchinson` (one random
    direction per record and solve) or `auto`: exact unless that takes tangents of more than `FEW` columns. `backward`
    is `direct`, or `adjoint`: every step is run again on the way back instead of being kept, which gives the same
    gradients (those of the steps taken, not of an ODE solved backwards: Gholami et al. 2019) in the memory of one step.

    Errors: TrainingError when a finite record leaves the finite numbers, which only broken weights or values near the
    end of the floating-point range can bring about.

    Example:
        >>> import torch
        >>> z, log_det = Continuous(3, context=1, steps=4)(torch.zeros(5, 3), torch.ones(5, 1))
        >>> z.shape, log_det.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        features: int,
        *,
        context: int = 0,
        hidden: Sequence[int] = (64, 64),
        steps: int = 16,
        divergence: DivergenceName = "auto",
        backward: Backward = "direct",
    ) -> None:
        super().__init__()
        if divergence not in get_args(DivergenceName):
            raise ValueError(f"unknown divergence {divergence!r}; known: {', '.join(get_args(DivergenceName))}")
        if backward not in get_args(Backward):
            raise ValueError(f"unknown backward {backward!r}; known: {', '.join(get_args(Backward))}")
        if steps < 1:
            raise ValueError(f"steps counts the solver's steps from 1, not {steps}")
        self.features, self.context_features, self.steps = features, context, steps
        self.divergence, self.backward = divergence, backward
        self.field = Field(features, context=context, hidden=hidden)

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        x = hold(x, observed)
        z, log_det = self._moved(x, context, observed, self._divergence(x, observed), backwards=False)
        fine = torch.isfinite(z).all(-1) & torch.isfinite(log_det)
        if bool((torch.isfinite(x).all(-1) & ~fine).any()):
            raise TrainingError(
                "The continuous flow gave up: a finite record was moved beyond the finite numbers. Its weights are "
                "broken or its values too large. Try a smaller model.learning_rate, or model.family: maf."
            )
        return z, log_det

    def inverse(self, z: Tensor, context: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
        z = hold(z, observed)
        return self._moved(z, context, observed, lambda moment, slopes: z.new_zeros(len(z)), backwards=True)[0]

    def _divergence(self, x: Tensor, observed: Tensor | None) -> Divergence:
        """How the divergence is computed for these records."""
        if not self.training or self.divergence == "exact":
            return partial(trace, observed=observed)
        if self.divergence == "auto":
            tangents = self.features if len(self.field.biases) > 2 else 0
            if not tangents and observed is not None:
                tangents = int((~observed).any(0).sum())
            if tangents <= FEW:
                return partial(trace, observed=observed)
        signs = torch.randint_like(x, 2) * 2 - 1
        return partial(estimate, signs=hold(signs, observed))

    def _moved(
        self, x: Tensor, context: Tensor | None, observed: Tensor | None, divergence: Divergence, *, backwards: bool
    ) -> tuple[Tensor, Tensor]:
        """Where x ends, and the integral of the divergence along its way; in training less the doubt about both."""
        conditioned = self.field.conditioned(self._checked(context, len(x)))
        steps = max(1, self.steps // 2) if self.training else self.steps
        length = (-1.0 if backwards else 1.0) / steps

        def slope(moment: Moment, x: Tensor) -> tuple[Tensor, Tensor]:
            speed, slopes = velocity(moment, x)
            return hold(speed, observed), divergence(moment, slopes)

        def step(start: float, x: Tensor, v1: Tensor, d1: Tensor) -> tuple[Tensor, ...]:
            middle = self.field.at(start + length / 2, conditioned)
            end = self.field.at(start + length, conditioned)
            v2, d2 = slope(middle, x + length / 2 * v1)
            v3, d3 = slope(middle, x + length / 2 * v2)
            v4, d4 = slope(end, x + length * v3)
            x = x + length / 6 * (v1 + 2 * (v2 + v3) + v4)
            gained = length / 6 * (d1 + 2 * (d2 + d3) + d4)
            v5, d5 = slope(end, x)
            if self.training:
                # The two looks at the middle and the two at the end would agree if the step were short enough.
                doubt = (d5 - d4).abs() + 2 * (d3 - d2).abs()
                doubt = doubt + ((v5 - v4).abs() + 2 * (v3 - v2).abs()).sum(-1)
                gained = gained - length / 6 * doubt
            return x, gained, v5, d5

        total = x.new_zeros(len(x))
        again = self.backward == "adjoint" and torch.is_grad_enabled()
        speed, spread = slope(self.field.at(1.0 if backwards else 0.0, conditioned), x)
        for number in range(steps):
            now = ((steps - number if backwards else number) / steps, x, speed, spread)
            if again:
                moved = checkpoint(step, *now, use_reentrant=False, preserve_rng_state=False)
            else:
                moved = step(*now)
            x, gained, speed, spread = moved
            total = total + gained
        return x, total

    def _checked(self, context: Tensor | None, rows: int) -> Tensor | None:
        found = (rows, 0) if context is None else tuple(context.shape)
        if found != (rows, self.context_features):
            raise ValueError(f"context has shape {found}; expected {(rows, self.context_features)}")
        return context


def continuous(
    features: int,
    *,
    context: int = 0,
    hidden: Sequence[int] = (64, 64),
    steps: int = 16,
    divergence: DivergenceName = "auto",
    backward: Backward = "direct",
    seed: int = 0,
) -> Flow:
    """A continuous flow after one affine map per column, which the context alone decides.

    The affine map brings each record near the middle, so that the field has only the shape left to learn. No column
    order exists: log-densities are exact in total, not per column.

    Errors: InputError for more than 64 columns; ValueError for unknown settings or sizes below 1.

    Example:
        >>> continuous(5, context=2).triangular
        False
    """
    if features > WIDEST:
        raise InputError(
            f"model.family: continuous takes at most {WIDEST} columns, this table has {features}. "
            "Use maf or realnvp, or fewer features."
        )
    with seeded(seed):
        affine = transformer_named("affine", bins=0)
        field = Continuous(
            features, context=context, hidden=hidden, steps=steps, divergence=divergence, backward=backward
        )
        first = Coupling(features, affine, transformed=range(features), context=context, hidden=hidden)
    return Flow(Chain([first, field]))


@dataclass(frozen=True)
class StepError:
    """How much log-densities change when the solver takes twice as many steps: |difference| in nats."""

    steps: int
    mean: float
    largest: float


def step_error(model: nn.Module, *inputs: Any, **named: Any) -> StepError:
    """The solver's error on these records: their log-density with the sealed steps against twice as many.

    `model` is whatever holds a continuous flow and is called with `inputs`: a `Flow` (x, context) or a `RecordDensity`
    (its `Inputs`). It is left as it was.

    Errors: TypeError when nothing in it is continuous; ValueError without a record.

    Example:
        >>> import torch
        >>> step_error(continuous(2), torch.zeros(4, 2)).largest < 1e-4
        True
    """
    solvers = [part for part in model.modules() if isinstance(part, Continuous)]
    if not solvers:
        raise TypeError(f"{type(model).__name__} holds no continuous flow, so there are no steps to double")
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()
            once = _log_density(model(*inputs, **named))
            with _doubled(solvers):
                twice = _log_density(model(*inputs, **named))
    finally:
        model.train(mode)
    if not len(once):
        raise ValueError("step_error needs at least one record")
    difference = (once.double() - twice.double()).abs()
    return StepError(solvers[0].steps, float(difference.mean()), float(difference.max()))


@contextmanager
def _doubled(solvers: Sequence[Continuous]) -> Iterator[None]:
    steps = [solver.steps for solver in solvers]
    try:
        for solver in solvers:
            solver.steps *= 2
        yield
    finally:
        for solver, sealed in zip(solvers, steps, strict=True):
            solver.steps = sealed


def _log_density(found: Any) -> Tensor:
    """Of a flow's or a record's result."""
    return found if isinstance(found, Tensor) else found.log_density
