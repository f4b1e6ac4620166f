"""Transformers by the name a pipeline gives them, with bounds that a stack of layers shares."""

from __future__ import annotations

import math
from typing import Literal, get_args

from flowguard.density.transformers.affine import Affine
from flowguard.density.transformers.composed import Composed
from flowguard.density.transformers.mixture import Mixture
from flowguard.density.transformers.spline import Spline
from flowguard.density.transformers.transformer import Transformer

TransformerName = Literal["affine", "spline", "mixture"]

# What affine maps may do to one column over a whole stack. Data is standardised and splines reach further, so
# stretching e**2-fold and compressing e**7-fold is room enough: the last spline's box covers 8 * e**2 = 59
# deviations, and 1e6 stays far below float32's overflow yet far out, (1e6 * e**-2)**2 / 2 = 9e9.
LOWEST, HIGHEST = -2.0, 7.0

# How far the stack may carry a column's mode, in deviations: the first map locates it, the later ones adjust
# it. Kept below half of 1e3, so that a thousand is always further out than ten, on either side and whatever
# was learned.
FIRST, LATER = 200.0, 100.0


def transformer_named(name: str, *, bins: int = 8, components: int = 8, uses: int = 1, place: int = 0) -> Transformer:
    """`affine`, `spline` (affine, then spline) or `mixture` (affine, then mixture-CDF), bounded for a stack.

    `bins` are the spline's, `components` the mixture's. `uses` is how often the stack transforms one column, `place`
    which of these times (from 0) this one is.

    Errors: ValueError for another name.
    """
    low, high = LOWEST / uses, HIGHEST / uses
    # By then a column may have been compressed to e**(low * place) of its size, and its mode's room with it.
    location = FIRST if place == 0 else LATER / (uses - 1) * math.exp(low * place)
    affine = Affine(location, low, high)
    if name == "affine":
        return affine
    if name == "spline":
        return Composed((affine, Spline(bins)))
    if name == "mixture":
        return Composed((affine, Mixture(components)))
    raise ValueError(f"unknown transformer {name!r}; known: {', '.join(get_args(TransformerName))}")
