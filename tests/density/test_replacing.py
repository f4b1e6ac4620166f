from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from flowguard.density import Inputs, RecordDensity
from flowguard.density.replacing import Replacing

NUMBER = {"kind": "number", "counts": [90, 10]}
CONFIG = {
    "columns": [NUMBER, {"kind": "category", "counts": [0, 0, 60, 40]}, NUMBER, NUMBER],
    "numeric": 1,
    "cardinalities": [],
    "hidden": [8],
}
FAMILIES = {
    "maf": {},
    "orders": {"orders": 3, "transformer": "affine"},
    "alternate": {"order": "alternate"},
    "realnvp": {"family": "realnvp", "layers": 2},
    "continuous": {"family": "continuous", "steps": 4},
    "gaussian": {"family": "gaussian"},
}


def density_of(family: str) -> RecordDensity:
    config = {key: value for key, value in CONFIG.items() if key != "hidden" or family != "gaussian"}
    density = RecordDensity.build(config | FAMILIES[family]).double().eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return density


def records(n: int) -> Inputs:
    generator = torch.Generator().manual_seed(1)
    x, context = (torch.randn(n, width, generator=generator, dtype=torch.float64) for width in (3, 1))
    codes = torch.zeros(n, 4, dtype=torch.long)
    codes[:, 1] = 2 + torch.arange(n) % 2
    codes[:, 2] = (torch.arange(n) % 4 == 1).long()
    nothing = torch.zeros(n, 0, dtype=torch.float64)
    return Inputs(x, codes, nothing, nothing, context, torch.zeros(n, 0, dtype=torch.long))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_replaced_number_has_the_density_of_the_whole_record(family: str) -> None:
    density, inputs, k = density_of(family), records(21), 5
    rows = torch.tensor([0, 3, 20, 7])
    values = 3 * torch.randn(4, k, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.inference_mode():
        replacing = Replacing(density, inputs)
        for place, column in enumerate((0, 2, 3)):
            many = rows.repeat_interleave(k)
            x = inputs.x[many]
            x[:, place] = values.flatten()
            wanted = density.log_prob(replace(inputs.take(many), x=x)).view(4, k)
            torch.testing.assert_close(replacing.log_prob(rows, column, values), wanted, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_record_s_bits_do_not_depend_on_the_others(family: str) -> None:
    density, inputs = density_of(family), records(200)
    rows = torch.arange(0, 200, 4)
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.inference_mode():
        together = Replacing(density, inputs).log_prob(rows, 2, values)
        for place in (0, 31, 49):
            alone = Replacing(density, inputs.take(rows[[place]]))
            assert torch.equal(alone.log_prob(torch.tensor([0]), 2, values[[place]])[0], together[place])


def test_without_numbers_there_is_nothing_to_replace() -> None:
    config = {"columns": [{"kind": "category", "counts": [0, 0, 60, 40]}], "numeric": 0, "cardinalities": []}
    with pytest.raises(TypeError, match="without numbers"):
        Replacing(RecordDensity.build(config).double().eval(), records(2))
