"""Equal likelihood: how soon flowguard reaches what zuko reaches at best, and how fast what reached it scores."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from rich.progress import Progress
from rich.table import Table
from speed_models import Architecture, Contender, flowguard_flow, zuko_flow
from torch import Tensor

TRAIN, HELD_OUT, BATCH = 20_000, 5_000, 512
LEARNING_RATE, EVERY, PATIENCE = 2e-3, 40, 12
SMALLER = ((1, (64, 64)), (2, (64, 64)), (3, (64, 64)))
"""Layers and hidden units of what is tried, the cheapest first, before the architecture of zuko's."""


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


def trained(
    one: Contender, train: Tensor, held_out: Tensor, *, budget: float, seed: int, target: float = math.inf
) -> Curve:
    """Train with AdamW in random batches until the target, the budget's end or no progress; testing is not timed."""
    assert one.model is not None
    assert one.log_prob is not None
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(one.model.parameters(), lr=LEARNING_RATE)
    spent, seconds, nats, since = 0.0, [], [], 0
    while spent < budget and since < PATIENCE and max(nats, default=-math.inf) < target:
        one.model.train()
        began = time.process_time()
        for _ in range(EVERY):
            rows = torch.randint(len(train), (min(BATCH, len(train)),), generator=generator)
            optimizer.zero_grad(set_to_none=True)
            (-one.log_prob(train[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(one.model.parameters(), 5.0)
            optimizer.step()
        spent += time.process_time() - began
        one.model.eval()
        with torch.inference_mode():
            found = float(one.log_prob(held_out).mean())
        since = 0 if found > max(nats, default=-math.inf) else since + 1
        seconds.append(spent)
        nats.append(found)
    return Curve(tuple(seconds), tuple(nats))


def rate(one: Contender, x: Tensor, *, repeats: int) -> float:
    """Records a processor second, the median."""
    assert one.model is not None
    one.model.eval()
    taken = []
    for _ in range(repeats + 1):
        began = time.process_time()
        with torch.inference_mode():
            one.score(x)
        taken.append(time.process_time() - began)
    return len(x) / statistics.median(taken[1:])


def races(of: Architecture, *, budget: float, seed: int, repeats: int, progress: Progress) -> Iterator[Race]:
    """zuko's MAF and NSF, then flowguard's of the same architecture, and the cheapest that reaches as much."""
    torch.set_num_threads(1)
    train, held_out = (sample(of.columns, n, seed=seed + part) for part, n in enumerate((TRAIN, HELD_OUT)))
    x = held_out[:4096]
    task = progress.add_task("", total=None)

    def run(target: str, name: str, make: Callable[[], Contender], least: float = math.inf) -> Race:
        progress.update(task, description=f"equal likelihood: {name}")
        one = make()
        curve = trained(one, train, held_out, budget=budget, seed=seed, target=least)
        goal = curve.best if least == math.inf else least
        return Race(target, name, curve.best, curve.reached(goal), rate(one, x, repeats=repeats))

    for kind, peer in (("affine", "zuko MAF"), ("spline", "zuko NSF")):
        best = run(peer, peer, lambda kind=kind: zuko_flow(kind, of, seed=seed))  # type: ignore[misc]
        yield best
        smaller = [Architecture(of.columns, layers, hidden, of.bins) for layers, hidden in SMALLER]
        for shape in [of, *smaller]:
            flow = kind if shape is of else "spline"
            name = f"flowguard {flow}, {shape.layers} x {' x '.join(map(str, shape.hidden))}"
            found = run(peer, name, lambda f=flow, s=shape: flowguard_flow(f, s, seed=seed), best.best)  # type: ignore[misc]
            yield found
            if shape is not of and found.reached is not None:
                break
    progress.remove_task(task)


def likelihood_table(found: list[Race], *, budget: float) -> Table:
    """A section for each of zuko's flows."""
    made = Table(title=f"At equal held-out likelihood, one thread, {budget:g} s of training at most")
    made.add_column("flow", no_wrap=True)
    for name in ("nats", "reached after s", "times as soon", "records/s", "times as fast"):
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
