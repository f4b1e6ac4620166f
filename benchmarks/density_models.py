"""The densities that are compared, and how each of them is trained: all by flowguard's own loop, for equal seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from flowguard.density import Inputs, RecordDensity, RecordTerms
from flowguard.density.capacity import capacity
from flowguard.density.config import BY_FAMILY
from flowguard.density.transformers import TransformerName
from flowguard.training import Epoch, TrainingResult, TrainingSettings, train
from flowguard.training.stream import Records

SETTINGS = TrainingSettings(batch_size=128, patience=30)
"""The defaults of a pipeline file but for these two: three thousand rows need smaller batches and more patience. Fixed
before any test row was looked at, and the same for every model."""
NOISE = capacity(2956, 43).noise
"""The largest noise that the rule takes for MINIBOONE's rows and columns."""


@dataclass(frozen=True)
class Fit:
    """A trained density and what its training took."""

    density: nn.Module
    result: TrainingResult
    seconds: float

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x) in nats, `(n,)`, in float64, read in float64 weights."""
        density = self.density.double().eval()
        with torch.no_grad():
            return torch.cat([density(Inputs.plain(part.double())).log_density for part in x.split(1024)])


def registered(families: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Every family that `RecordDensity` knows, each with all of its transformers: name -> config."""
    models: dict[str, dict[str, Any]] = {}
    for family, defaults in BY_FAMILY.items():
        if "transformer" in defaults:
            models |= {f"{family} {t}": {"family": family, "transformer": t} for t in get_args(TransformerName)}
        else:
            models[family] = {"family": family}
        if "orders" in defaults:
            models[f"{family} spline x4 orders"] = {"family": family, "transformer": "spline", "orders": 4}
        if "noise" in defaults and "transformer" in defaults:
            # What a pipeline file without settings gets on a table of this size: see `flowguard.density.capacity`.
            models[f"{family} mixture with noise"] = {"family": family, "transformer": "mixture", "noise": NOISE}
        if defaults.get("order") == "single":
            models[f"{family} spline permuted"] = {"family": family, "transformer": "spline", "order": "random"}
    return {name: config for name, config in models.items() if chosen(name, families)}


def chosen(name: str, families: list[str] | None) -> bool:
    """Whether `--families` asks for this model, by its family or by its whole name."""
    return families is None or name in families or name.split()[0] in families


def built(config: dict[str, Any], columns: int, rows: int, *, seed: int) -> RecordDensity:
    """A new flowguard density of plain, always observed numbers."""
    numbers = [{"kind": "number", "counts": [rows, 0]}] * columns
    return RecordDensity.build({"columns": numbers, "numeric": 0, "cardinalities": []} | config | {"seed": seed})


class Zuko(nn.Module):
    """A flow of zuko in the shape that flowguard's loop trains, so that the loop is the same."""

    rare = True

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def parts(self) -> dict[str, nn.Module]:
        """One part: there is no mask."""
        return {"mass": nn.Module(), "density": self.flow}

    def forward(self, inputs: Inputs) -> RecordTerms:
        """log p(x); nothing is ever missing."""
        log_density = self.flow().log_prob(inputs.x)
        nothing = torch.zeros_like(log_density)
        return RecordTerms(nothing, log_density, torch.zeros_like(inputs.x), None, nothing)


def zuko_models(columns: int, *, seed: int) -> dict[str, Callable[[], nn.Module]]:
    """zuko's MAF and NSF as they come, hidden layers as wide as flowguard's; {} where zuko is not installed."""
    try:
        import zuko
    except ImportError:
        return {}

    def made(kind: Any) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Zuko(kind(columns, hidden_features=(64, 64)))

    return {"zuko MAF": lambda: made(zuko.flows.MAF), "zuko NSF": lambda: made(zuko.flows.NSF)}


def fit(
    make: Callable[[], nn.Module],
    x: Tensor,
    validation: Tensor,
    *,
    budget: float,
    seed: int,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Train for about `budget` seconds: two epochs on a copy tell how many fit, and the schedule is made for those."""

    def run(epochs: int, report: Callable[[Epoch], None]) -> tuple[nn.Module, TrainingResult]:
        density = make()
        settings = TrainingSettings(**(vars(SETTINGS) | {"epochs": epochs, "seed": seed}))
        result = train(
            density,  # type: ignore[arg-type]
            lambda epoch: [_records(x)],
            validation=lambda: [_records(validation)],
            rows=len(x),
            settings=settings,
            device=torch.device("cpu"),
            on_epoch=report,
        )
        return density, result

    _, trial = run(2, lambda epoch: None)
    epochs = max(2, int(budget / trial.history[-1].seconds))
    on_epoch(0, epochs)
    started = time.perf_counter()
    density, result = run(epochs, lambda epoch: on_epoch(epoch.epoch, epochs))
    return Fit(density, result, time.perf_counter() - started)


def _records(x: Tensor) -> Records:
    return Records(Inputs.plain(x.float()), torch.zeros(len(x)))
