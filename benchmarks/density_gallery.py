"""Two-dimensional classics, and one picture of what every density makes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from density_models import built, fit
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

EDGE = 3.2
POINTS = 140
ROWS, HELD_OUT = 6000, 1500


def draw(name: str, n: int, *, seed: int) -> Tensor:
    """n points of `moons`, `rings`, `pinwheel` or `checkerboard`, `(n, 2)`, about one deviation wide."""
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, n, generator=generator)
    noise = torch.randn(n, 2, generator=generator)
    which = torch.randint(0, 60, (n,), generator=generator)
    if name == "moons":
        angle, lower = math.pi * first, which % 2 == 1
        x = torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5
        y = torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25
        return (torch.stack((x, y), 1) + 0.08 * noise) * torch.tensor([1.15, 2.0])
    if name == "rings":
        radius = (which % 3 + 1) * 0.75 + 0.06 * noise[:, 0]
        return torch.stack((radius * (2 * math.pi * first).cos(), radius * (2 * math.pi * first).sin()), 1)
    if name == "pinwheel":
        out, across = 1 + 0.3 * noise[:, 0], 0.1 * noise[:, 1]
        angle = 2 * math.pi / 5 * (which % 5) + 0.25 * out.exp()
        turned = (out * angle.cos() - across * angle.sin(), out * angle.sin() + across * angle.cos())
        return torch.stack(turned, 1) * 1.3
    if name == "checkerboard":
        # Eight of the sixteen squares of [-2, 2]^2; the true density is 1/8, -2.08 nats.
        column, row = which % 4, (which // 4) % 2 * 2
        row = row + column % 2
        return torch.stack((column + first, row + second), 1) - 2
    raise ValueError(f"unknown set {name!r}")


SETS = ("moons", "rings", "pinwheel", "checkerboard")


def gallery(
    path: Path,
    models: dict[str, dict[str, Any]],
    *,
    budget: float,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> list[tuple[str, str, float, float]]:
    """Draw every model on every set to `path`; returns (set, model, held-out nats, standard error)."""
    line = torch.linspace(-EDGE, EDGE, POINTS)
    plane = torch.cartesian_prod(line, line)
    figure = Figure(figsize=(1.75 * (len(models) + 1), 1.9 * len(SETS)), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(SETS), len(models) + 1, squeeze=False)
    results = []
    for row, name in enumerate(SETS):
        x, test = draw(name, ROWS, seed=seed), draw(name, 4000, seed=seed + 1)
        axes[row, 0].hist2d(*x.T.numpy(), bins=64, range=[(-EDGE, EDGE)] * 2, cmap="magma")
        axes[row, 0].set_ylabel(name)
        for place, (model, config) in enumerate(models.items(), 1):
            trained = fit(
                lambda config=config: built(config, 2, ROWS, seed=seed),
                x[:-HELD_OUT],
                x[-HELD_OUT:],
                budget=budget,
                seed=seed,
                on_epoch=lambda done, total, title=f"{name}, {model}": progress(title, done, total),
            )
            nats = trained.log_density(test)
            mean, error = float(nats.mean()), float(nats.std() / len(nats) ** 0.5)
            results.append((name, model, mean, error))
            density = trained.log_density(plane).exp().reshape(POINTS, POINTS).T
            # Peaks may be many times higher than the rest: bright is what holds most of the points.
            bright = float(trained.log_density(test[:1000]).exp().quantile(0.8))
            axis = axes[row, place]
            axis.imshow(density.numpy(), origin="lower", extent=(-EDGE, EDGE) * 2, cmap="magma", vmax=bright, vmin=0)
            axis.set_xlabel(f"{mean:.2f} nats", fontsize=9)
    for place, title in enumerate(["data", *models]):
        axes[0, place].set_title(title.replace(" ", "\n", 1), fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return results
