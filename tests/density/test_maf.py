"""The masked autoregressive flow as built."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import Chain, Flow, maf


def orders(flow: Flow) -> list[tuple[int, ...] | None]:
    assert isinstance(flow.bijection, Chain)
    return [part.order for part in flow.bijection.parts]  # type: ignore[union-attr, misc]


def test_orders_are_as_asked() -> None:
    assert orders(maf(3, layers=2)) == [(0, 1, 2)] * 2
    assert orders(maf(3, layers=3, order="alternate")) == [(0, 1, 2), (2, 1, 0), (0, 1, 2)]
    assert orders(maf(3, layers=2, columns=(2, 0, 1))) == [(2, 0, 1)] * 2
    assert orders(maf(3, layers=2, columns=(2, 0, 1), order="alternate")) == [(2, 0, 1), (1, 0, 2)]
    # Part of a stored model: a seed gives these orders for ever.
    assert orders(maf(5, layers=2, order="random", seed=3)) == [(0, 2, 1, 3, 4), (1, 0, 4, 3, 2)]


def test_one_seed_gives_one_flow_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    first = maf(3, context=2, seed=8).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second, other = maf(3, context=2, seed=8).state_dict(), maf(3, context=2, seed=9).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_stored_tensors_are_parameters_only() -> None:
    flow = maf(3, context=2)
    assert set(flow.state_dict()) == {name for name, _ in flow.named_parameters()}


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown order 'both'"):
        maf(2, order="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drawn, not given"):
        maf(2, order="random", columns=(1, 0))
    with pytest.raises(ValueError, match="at least one layer"):
        maf(2, layers=0)


def test_many_columns_work() -> None:
    flow = maf(300, layers=1, hidden=(32,))
    assert torch.isfinite(flow.log_prob(torch.randn(4, 300, generator=torch.Generator().manual_seed(0)))).all()
