"""The flows that benchmarks/speed.py times, of one architecture in three libraries, and an isolation forest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flowguard.density import maf

KINDS = ("affine", "spline")


@dataclass(frozen=True)
class Architecture:
    """What all flows share: columns, layers, the widths of the hidden layers and the bins of splines."""

    columns: int = 16
    layers: int = 5
    hidden: tuple[int, ...] = (128, 128)
    bins: int = 8


@dataclass(frozen=True)
class Contender:
    """A flow, or a forest without one: how records are scored, and how a loss is had."""

    name: str
    model: nn.Module | None
    score: Callable[[Tensor], object]
    log_prob: Callable[[Tensor], Tensor] | None = None
    dtype: torch.dtype = torch.float32

    @property
    def products(self) -> int:
        """Multiplications for a record if masked matrices are taken whole."""
        return sum(p.numel() for p in self.model.parameters() if p.ndim == 2) if self.model else 0


def flowguard_flow(
    kind: Any, of: Architecture, *, seed: int, order: Any = "alternate", double: bool = False, name: str = "flowguard"
) -> Contender:
    """flowguard's, the columns reversed every other layer as the peers do; in float64 as its detector scores."""
    flow: Any = maf(
        of.columns, transformer=kind, hidden=of.hidden, layers=of.layers, bins=of.bins, order=order, seed=seed
    )
    if double:
        flow, name = flow.double(), f"{name} float64"
    return Contender(name, flow, flow.log_prob, flow.log_prob, torch.float64 if double else torch.float32)


def zuko_flow(kind: str, of: Architecture, *, seed: int) -> Contender:
    """zuko's MAF or NSF."""
    import zuko

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shape: dict[str, Any] = {"transforms": of.layers, "hidden_features": of.hidden}
        if kind == "affine":
            flow: Any = zuko.flows.MAF(of.columns, **shape)
        else:
            flow = zuko.flows.NSF(of.columns, bins=of.bins, **shape)

    def log_prob(x: Tensor) -> Tensor:
        return flow().log_prob(x)

    return Contender("zuko", flow, log_prob, log_prob)


def nflows_flow(kind: str, of: Architecture, *, seed: int) -> Contender:
    """nflows' MAF or autoregressive NSF, the columns reversed between layers; its hidden layers are of one width."""
    from nflows import distributions, flows, transforms

    width, *others = of.hidden
    if set(others) - {width}:
        raise ValueError(f"nflows takes hidden layers of one width, not {of.hidden}")
    shape: dict[str, Any] = {"hidden_features": width, "num_blocks": len(others), "use_residual_blocks": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stack: list[Any] = []
        for _ in range(of.layers):
            stack.append(transforms.ReversePermutation(of.columns))
            if kind == "affine":
                stack.append(transforms.MaskedAffineAutoregressiveTransform(of.columns, **shape))
            else:
                made = transforms.MaskedPiecewiseRationalQuadraticAutoregressiveTransform
                stack.append(made(of.columns, num_bins=of.bins, tails="linear", tail_bound=5.0, **shape))
        flow = flows.Flow(transforms.CompositeTransform(stack), distributions.StandardNormal([of.columns]))
    return Contender("nflows", flow, flow.log_prob, flow.log_prob)


def forest(of: Architecture, train: np.ndarray, *, seed: int, threads: int) -> Contender:
    """scikit-learn's IsolationForest of 100 trees."""
    from sklearn.ensemble import IsolationForest

    fitted = IsolationForest(n_estimators=100, random_state=seed, n_jobs=threads).fit(train)
    return Contender("IsolationForest", None, lambda x: fitted.score_samples(x.numpy()))


def contenders(kind: str, of: Architecture, *, seed: int) -> list[Contender]:
    """flowguard first, then its float64, then the peers that are installed."""
    made = [flowguard_flow(kind, of, seed=seed), flowguard_flow(kind, of, seed=seed, double=True)]
    for peer in (zuko_flow, nflows_flow):
        try:
            made.append(peer(kind, of, seed=seed))
        except ImportError:
            continue
    return made
