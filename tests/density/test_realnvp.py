"""RealNVP as built."""

from __future__ import annotations

import pytest
import torch

from flowguard.density import Chain, Coupling, realnvp


def transformed(features: int, **settings: object) -> list[list[int]]:
    flow = realnvp(features, **settings)  # type: ignore[arg-type]
    assert isinstance(flow.bijection, Chain)
    return [part.chosen.tolist() for part in flow.bijection.parts if isinstance(part, Coupling)]


def test_halves_swap_so_that_no_column_passes_untouched() -> None:
    assert transformed(5, layers=3) == [[0, 2, 4], [1, 3], [0, 2, 4]]
    for features in (2, 3, 7):
        halves = transformed(features, layers=6, mask="random", seed=5)
        for first, second in zip(halves[0::2], halves[1::2], strict=True):
            assert sorted(first + second) == list(range(features))
    # Part of a stored model: a seed gives these halves for ever.
    assert transformed(5, layers=2, mask="random", seed=3) == [[0, 1, 4], [2, 3]]


def test_a_single_column_is_transformed_by_every_layer() -> None:
    assert transformed(1, layers=4) == [[0]] * 4


def test_one_layer_would_leave_columns_untouched() -> None:
    with pytest.raises(ValueError, match="leave some of 3 columns untouched"):
        realnvp(3, layers=1)
    with pytest.raises(ValueError, match="untouched"):
        realnvp(1, layers=0)


def test_an_unknown_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mask 'checker'"):
        realnvp(3, mask="checker")  # type: ignore[arg-type]


def test_every_column_depends_on_every_other_after_all_layers() -> None:
    flow = realnvp(5).double()
    x = torch.randn(1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow.latent(v)[0], x)[:, 0]
    assert (jacobian != 0).all()


def test_mixing_stands_before_every_coupling_layer_of_several_columns() -> None:
    flow = realnvp(3, layers=2, mixing="lu")
    assert isinstance(flow.bijection, Chain)
    assert [type(part).__name__ for part in flow.bijection.parts] == ["Mixing", "Coupling", "Mixing", "Coupling"]
    alone = realnvp(1, layers=2, mixing="lu").bijection
    assert isinstance(alone, Chain)
    assert [type(part).__name__ for part in alone.parts] == ["Coupling", "Coupling"]
    with pytest.raises(ValueError, match="unknown mixing 'qr'; known: none, lu"):
        realnvp(3, mixing="qr")  # type: ignore[arg-type]
