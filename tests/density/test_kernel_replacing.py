from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flowguard.density import Column, Inputs, KernelDensity, fit_kernel
from flowguard.density.kernel_replacing import ROWS, KernelReplacing
from tests.density.test_kernel import MIXED, mixed

K = 6


@pytest.fixture(scope="module", params=["line", "front"])
def kernel(request: pytest.FixtureRequest) -> KernelDensity:
    return fit_kernel(mixed(), MIXED, scale=request.param, seed=0)


def replaced(kernel: KernelDensity, some: Inputs, rows: torch.Tensor, place: int, line: torch.Tensor) -> torch.Tensor:
    many = some.take(rows.repeat_interleave(line.shape[1]))
    x, moved = many.x.clone(), many.line.clone()
    x[:, place], moved[:, place] = 2 * line.flatten(), line.flatten()
    found = kernel(replace(many, x=x, line=moved))
    return (found.log_mass + found.log_density).view(line.shape)


def asked(kernel: KernelDensity, some: Inputs, line: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values on the kernel's scale, of which x is twice the straight one, and their stretch."""
    on_line = kernel.scale == "line"
    return (line if on_line else 2 * line), torch.full_like(line, float(some.log_stretch[0, 0]) if on_line else 0.0)


@pytest.mark.parametrize(("place", "column"), [(0, 1), (1, 3)])
def test_a_replaced_number_has_the_density_of_the_whole_record(kernel: KernelDensity, place: int, column: int) -> None:
    some = mixed(200, seed=3)
    rows = (some.codes[:, column] == 0).nonzero().squeeze(1)[: 2 * ROWS]
    line = 3 * torch.randn(len(rows), K, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    line[0] *= 1e4
    with torch.inference_mode():
        found = KernelReplacing(kernel, some).log_prob(rows, place, *asked(kernel, some, line))
        torch.testing.assert_close(found, replaced(kernel, some, rows, place, line), rtol=1e-12, atol=1e-10)


def test_what_lies_beside_an_absurd_value_is_as_exact_as_ever(kernel: KernelDensity) -> None:
    some = mixed(ROWS, seed=4)
    some.codes[:, 1] = 0
    some.line[:, 0], some.x[:, 0] = 1e7, 2e7
    rows, line = torch.arange(ROWS), torch.zeros(ROWS, K, dtype=torch.float64)
    with torch.inference_mode():
        found = KernelReplacing(kernel, some).log_prob(rows, 0, *asked(kernel, some, line))
        torch.testing.assert_close(found, replaced(kernel, some, rows, 0, line), rtol=1e-12, atol=1e-10)


def test_a_record_s_bits_do_not_depend_on_the_others(kernel: KernelDensity) -> None:
    some = mixed(200, seed=3)
    rows = torch.arange(10 * ROWS)
    line = torch.randn(len(rows), K, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values, stretch = asked(kernel, some, line)
    with torch.inference_mode():
        together = KernelReplacing(kernel, some).log_prob(rows, 1, values, stretch)
        for row in (0, 37, 159):
            same = [row] * ROWS
            alone = KernelReplacing(kernel, some.take(torch.tensor([row])))
            found = alone.log_prob(torch.zeros(ROWS, dtype=torch.long), 1, values[same], stretch[same])
            assert torch.equal(found[0], together[row])


def test_a_lone_number_has_no_others() -> None:
    inputs = Inputs.plain(torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    kernel = fit_kernel(inputs, [Column("number", (50, 0))], scale="front", seed=0)
    values = inputs.x[:ROWS] + torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    with torch.inference_mode():
        found = KernelReplacing(kernel, inputs).log_prob(torch.arange(ROWS), 0, values, torch.zeros_like(values))
        whole = kernel(Inputs.plain(values.view(-1, 1)))
    wanted = (whole.log_mass + whole.log_density).view(ROWS, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
