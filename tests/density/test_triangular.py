"""Block-triangular products; that they are those of the masked network is in test_masked.py."""

from __future__ import annotations

import pytest
import torch

from flowguard.density.triangular import LEAST_ROWS, MOST_BLOCKS, Plan, blocks, parameters_of


@pytest.mark.parametrize("seen", [[1], [1] * 100, list(range(1, 130)), sorted([3, 9] * 700), [0] * 40 + [5] * 90])
def test_runs_follow_each_other_and_no_row_sees_more_than_its_run(seen: list[int]) -> None:
    found = blocks(seen)
    assert [row for rows, _ in found for row in range(rows.start, rows.stop)] == list(range(len(seen)))
    assert all(columns == max(seen[rows]) for rows, columns in found)
    assert len(found) <= MOST_BLOCKS
    assert len(found) == 1 or len(seen) >= 2 * LEAST_ROWS


def test_rows_that_see_the_same_are_one_run() -> None:
    assert blocks([7] * 500) == ((slice(0, 500), 7),)


def test_a_square_layer_leaves_out_a_third_of_its_products() -> None:
    degrees = [1 + place // 8 for place in range(128)]
    plan = Plan.of(list(range(1, 17)), [degrees, degrees], list(range(1, 17)), size=25)
    made = [sum((rows.stop - rows.start) * columns for rows, columns in layer) for layer in plan.layers]
    assert made[1] < 0.67 * 128 * 128
    assert made[2] < 0.6 * 128 * 400


def test_derivatives_with_a_narrower_layer_between_are_those_of_dense_products() -> None:
    degrees = [[1] * 40 + [2] * 60, [1] * 30 + [2] * 36, [1] * 30 + [2] * 36]
    plan = Plan.of([0, 1, 2], degrees, [1, 2, 3], size=2)
    generator = torch.Generator().manual_seed(0)
    shapes = [(100, 4), (66, 101), (66, 67), (6, 67)]
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) / 5 for shape in shapes]
    for layer, weight in zip(plan.layers, weights, strict=True):
        for rows, columns in layer:
            weight[rows, columns:] = 0
        weight.requires_grad_()
    direct = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 50, generator=generator, dtype=torch.float64, requires_grad=True)

    def dense() -> torch.Tensor:
        one = torch.ones(1, 50, dtype=torch.float64)
        hidden = weights[0] @ torch.cat((one, x.tanh()))
        hidden = weights[1] @ torch.cat((one, hidden.relu()))
        hidden = hidden + weights[2] @ torch.cat((one, hidden.relu()))
        found = (weights[3] @ torch.cat((one, hidden.relu()))).unflatten(0, (3, 2))
        return found + torch.stack((direct @ x, torch.zeros(3, 50, dtype=torch.float64)), 1)

    found = parameters_of(plan, x, x.tanh(), direct, weights)
    torch.testing.assert_close(found, dense())
    given = torch.randn(3, 2, 50, generator=generator, dtype=torch.float64)
    asked = [x, direct, *weights]
    grads, expected = (torch.autograd.grad((value * given).sum(), asked) for value in (found, dense()))
    torch.testing.assert_close(grads, expected)
