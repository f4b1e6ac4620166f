"""Transformers by name."""

from __future__ import annotations

import math

import pytest

from flowguard.density.transformers import Affine, Composed, transformer_named


def test_the_bounds_of_a_stack_do_not_grow_with_its_depth() -> None:
    for uses in (1, 2, 3, 8):
        stack = [transformer_named("affine", bins=8, uses=uses, place=place) for place in range(uses)]
        affine = [layer for layer in stack if isinstance(layer, Affine)]
        assert len(affine) == uses
        assert sum(layer.low for layer in affine) == pytest.approx(-2)
        assert sum(layer.high for layer in affine) == pytest.approx(7)
        reach = sum(layer.location * math.exp(-layer.low * place) for place, layer in enumerate(affine))
        assert reach <= 300 + 1e-9


def test_a_spline_comes_behind_an_affine_map() -> None:
    pair = transformer_named("spline", bins=5)
    assert isinstance(pair, Composed)
    assert [type(part).__name__ for part in pair.parts] == ["Affine", "Spline"]


def test_a_mixture_comes_behind_an_affine_map() -> None:
    pair = transformer_named("mixture", components=3)
    assert isinstance(pair, Composed)
    assert [type(part).__name__ for part in pair.parts] == ["Affine", "Mixture"]
    assert pair.size == 2 + 7


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown transformer 'cubic'; known: affine, spline, mixture"):
        transformer_named("cubic", bins=8)
