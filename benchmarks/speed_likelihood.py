"""Equal likelihood: how soon flowguard reaches what zuko reaches at best, and how fast what reached it scores."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from rich.progress import Progress
from rich.table import Table
from speed_models import KINDS, Architecture, Contender, flowguard_flow, zuko_flow
from torch import Tensor

TRAIN, HELD_OUT, BATCH = 20_000, 5_000, 512
LEARNING_RATE, EVERY = 2e-3, 20
ZUKOS = ("zuko MAF", "zuko NSF")
SMALLER = ((1, (64, 64)), (2, (64, 64)), (3, (64, 64)))
"""Layers and hidden units of flowguard's that cost less."""


@dataclass(frozen=True)
class Curve:
    """Mean held-out log-likelihoods by processor seconds of training."""

    seconds: tuple[float, ...]
    nats: tuple[float, ...]

    @property
    def best(self) -> float:
        """The best so far, -inf before the first."""
        return max(self.nats, default=-math.inf)

    def reached(self, target: float) -> float | None:
        """When it was first at least `target`, or None."""
        return next((s for s, nats in zip(self.seconds, self.nats, strict=True) if nats >= target), None)


@dataclass(frozen=True)
class Race:
    """One line: what was trained, when it reached the target, and how fast it scores in float32 on one thread."""

    target: str
    name: str
    best: float
    reached: float | None
    rate: float


def sample(columns: int, n: int, *, seed: int) -> Tensor:
    """Records `(n, columns)` from three groups on bent surfaces: each column is a function of those before, and noise.

    Example:
        >>> sample(4, 10, seed=0).shape
        torch.Size([10, 4])
    """
    law = torch.Generator().manual_seed(1)
    draws = torch.Generator().manual_seed(seed)
    group = torch.randint(3, (n,), generator=draws)
    made: list[Tensor] = []
    for place in range(columns):
        centre = 1.5 * torch.randn(3, generator=law)[group] * (0.5 if place % 3 else 1.0)
        noise = torch.randn(n, generator=draws)
        if made:
            weights = torch.randn(2, len(made), generator=law) / math.sqrt(len(made))
            a, b = weights @ torch.stack(made)
            made.append(centre + torch.sin(2 * a) + 0.3 * a * b.tanh() + (0.1 + 0.4 * torch.sigmoid(b)) * noise)
        else:
            made.append(centre + 0.5 * noise)
    # Standardised by fixed numbers, about those of the columns: every sample lies on one scale.
    return torch.stack(made, 1) / 1.5


def training(one: Contender, train: Tensor, held_out: Tensor, *, seed: int) -> Iterator[tuple[float, float]]:
    """Train with AdamW in random batches; every few steps the processor seconds they took and the held-out mean."""
    assert one.model is not None
    assert one.log_prob is not None
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(one.model.parameters(), lr=LEARNING_RATE)
    while True:
        one.model.train()
        began = time.process_time()
        for _ in range(EVERY):
            rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
            optimizer.zero_grad(set_to_none=True)
            (-one.log_prob(train[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(one.model.parameters(), 5.0)
            optimizer.step()
        taken = time.process_time() - began
        one.model.eval()
        with torch.inference_mode():
            found = float(one.log_prob(held_out).mean())
        yield taken, found


def trained(
    entered: list[Contender],
    train: Tensor,
    held_out: Tensor,
    *,
    budget: float,
    seed: int,
    progress: Callable[[float], None] = lambda seconds: None,
) -> list[Curve]:
    """All of them for `budget` processor seconds each, in turn: whoever has taken least goes on."""
    runs = [training(one, train, held_out, seed=seed) for one in entered]
    spent, seconds = [0.0] * len(runs), [list[float]() for _ in runs]
    nats = [list[float]() for _ in runs]
    while (least := min(spent)) < budget or not all(nats):
        place = spent.index(least)
        taken, found = next(runs[place])
        spent[place] += taken
        seconds[place].append(spent[place])
        nats[place].append(found)
        progress(taken)
    return [Curve(tuple(s), tuple(n)) for s, n in zip(seconds, nats, strict=True)]


def rates_of(entered: list[Contender], x: Tensor, *, repeats: int) -> list[float]:
    """Records each scores a processor second, the medians of rounds in which all take part."""
    taken: list[list[float]] = [[] for _ in entered]
    for _ in range(repeats + 1):
        for one, seconds in zip(entered, taken, strict=True):
            began = time.process_time()
            with torch.inference_mode():
                one.score(x)
            seconds.append(time.process_time() - began)
    return [len(x) / statistics.median(seconds[1:]) for seconds in taken]


def entrants(of: Architecture, *, seed: int) -> list[Contender]:
    """zuko's MAF and NSF, flowguard's of the same architecture, and splines of one column order in smaller ones."""
    zukos = [replace(zuko_flow(kind, of, seed=seed), name=name) for kind, name in zip(KINDS, ZUKOS, strict=True)]
    smaller = [Architecture(of.columns, layers, hidden, of.bins) for layers, hidden in SMALLER]
    shapes = [("affine", of, "alternate"), ("spline", of, "alternate"), *(("spline", s, "single") for s in smaller)]
    return zukos + [
        flowguard_flow(
            kind, s, seed=seed, order=order, name=f"flowguard {kind}, {s.layers} x {' x '.join(map(str, s.hidden))}"
        )
        for kind, s, order in shapes
    ]


def races(of: Architecture, *, budget: float, seed: int, repeats: int, progress: Progress) -> Iterator[Race]:
    """Each of zuko's at its best as a target, and what of flowguard's reaches it."""
    torch.set_num_threads(1)
    train, held_out = (sample(of.columns, n, seed=seed + part) for part, n in enumerate((TRAIN, HELD_OUT)))
    entered = entrants(of, seed=seed)
    task = progress.add_task("equal likelihood", total=budget * len(entered))
    curves = trained(
        entered, train, held_out, budget=budget, seed=seed, progress=lambda taken: progress.advance(task, taken)
    )
    rates = rates_of(entered, held_out[:4096], repeats=repeats)
    for place, target in enumerate(ZUKOS):
        goal = curves[place].best
        for one, curve, rate in zip(entered, curves, rates, strict=True):
            if one.name == target or one.name not in ZUKOS:
                yield Race(target, one.name, curve.best, curve.reached(goal), rate)


def likelihood_table(found: list[Race], *, budget: float) -> Table:
    """A section for each of zuko's flows."""
    made = Table(title=f"At equal held-out likelihood, one thread, {budget:g} s of training each")
    made.add_column("flow", no_wrap=True)
    for name in ("best nats", "zuko's after s", "times as soon", "records/s", "times as fast"):
        made.add_column(name, justify="right")
    first = found[0]
    for race, following in zip(found, [*found[1:], None], strict=True):
        first = race if race.name == race.target else first
        own = race is first
        soon = "" if own else "not" if race.reached is None else f"{(first.reached or 0) / race.reached:.2f}"
        made.add_row(
            race.name,
            f"{race.best:.3f}",
            "-" if race.reached is None else f"{race.reached:.1f}",
            soon,
            f"{race.rate:,.0f}",
            "" if own else f"{race.rate / first.rate:.2f}",
            end_section=following is None or following.target != race.target,
        )
    return made
