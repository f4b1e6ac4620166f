"""Elementwise increasing maps, given their parameters; conditioners predict those."""

from __future__ import annotations

from flowguard.density.transformers.affine import Affine
from flowguard.density.transformers.by_name import TransformerName, transformer_named
from flowguard.density.transformers.composed import Composed
from flowguard.density.transformers.mixture import Mixture
from flowguard.density.transformers.spline import Spline
from flowguard.density.transformers.transformer import Transformer

__all__ = ["Affine", "Composed", "Mixture", "Spline", "Transformer", "TransformerName", "transformer_named"]
