from __future__ import annotations

import pytest
import torch

from flowguard.density import Flow, maf, realnvp
from flowguard.density.suffix import ROWS, Suffix

FLOWS = {
    "lone": {"features": 1},
    "lone-context": {"features": 1, "context": 2},
    "affine": {"features": 9, "transformer": "affine", "layers": 2},
    "narrow": {"features": 6, "hidden": (3,), "layers": 2},
    "unequal": {"features": 5, "hidden": (7, 12), "context": 2},
    "permuted": {"features": 5, "columns": (3, 0, 4, 1, 2), "context": 1},
    "mixture": {"features": 4, "transformer": "mixture", "context": 1, "layers": 2},
    "wide": {"features": 20, "layers": 2},
}


def trained(**config) -> Flow:
    flow = maf(**config, seed=1).double().eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return flow


def drawn(config: dict, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(n, config["features"], generator=generator, dtype=torch.float64)
    width = config.get("context", 0)
    return x, torch.randn(n, width, generator=generator, dtype=torch.float64) if width else None


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("name", FLOWS)
def test_a_replaced_column_has_the_density_of_the_whole_record(name: str, gaps: bool) -> None:
    config, k = FLOWS[name], 7
    flow, (x, context) = trained(**config), drawn(config, 150)  # more than one tile
    observed = torch.arange(x.numel()).view(x.shape) % 5 != 3 if gaps else None
    values = 8 * torch.randn(len(x), k, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values[0] *= 1e5
    with torch.inference_mode():
        suffix = Suffix(flow, x, context, observed=observed)
        for column in range(flow.features):
            rows = torch.arange(len(x)) if observed is None else observed[:, column].nonzero().squeeze(1)
            many = rows.repeat_interleave(k)
            moved = x[many]
            moved[:, column] = values[rows].flatten()
            given, mask = (None if part is None else part[many] for part in (context, observed))
            wanted = flow.log_prob(moved, given, observed=mask).view(-1, k)
            found = suffix.log_prob(rows, column, values[rows])
            torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-10)


def test_a_record_s_bits_do_not_depend_on_the_others() -> None:
    config = FLOWS["wide"]
    flow, (x, _) = trained(**config), drawn(config, 300)
    values = torch.randn(300, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.inference_mode():
        together = Suffix(flow, x).log_prob(torch.arange(288), 4, values[:288])
        for row in (0, 17, 287):
            alone = torch.zeros(ROWS, dtype=torch.long)
            found = Suffix(flow, x[[row]]).log_prob(alone, 4, values[[row] * ROWS])
            assert torch.equal(found[0], together[row])
            assert torch.equal(found[-1], together[row])


def test_only_flows_of_one_order_have_columns_that_others_do_not_see() -> None:
    for flow in (realnvp(3), maf(3, order="alternate")):
        with pytest.raises(TypeError, match="in one order"):
            Suffix(flow, torch.zeros(1, 3))
