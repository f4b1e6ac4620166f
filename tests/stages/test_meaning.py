"""From the pipeline file's words to a density."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowguard.density import RecordDensity
from flowguard.spec import load_pipeline
from flowguard.stages.meaning import architecture_of

PIPELINE = """
source: {{path: data/*.parquet, batch: file, key: [id]}}
columns: {{features: {{power: number, flow: number}}}}
model: {model}
"""


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{}", {"family": "maf", "transformer": "spline", "order": "single", "orders": 1, "bins": 8}),
        ("{orders: 3, bins: 6}", {"family": "maf", "orders": 3, "bins": 6}),
        ("{transformer: mixture, components: 5}", {"transformer": "mixture", "components": 5}),
        ("{family: realnvp, mixing: lu}", {"family": "realnvp", "mixing": "lu", "order": "alternate", "layers": 6}),
        ("{dropout: 0.1, noise: 0.2}", {"dropout": 0.1, "noise": 0.2}),
        ("{family: continuous, noise: 0.2}", {"noise": 0.2}),
        ("{family: gaussian}", {"family": "gaussian"}),
        ("{family: continuous, steps: 8}", {"family": "continuous", "steps": 8}),
    ],
)
def test_every_option_of_the_model_reaches_the_density(tmp_path: Path, model: str, expected: dict[str, Any]) -> None:
    path = tmp_path / "meters.yaml"
    path.write_text(PIPELINE.format(model=model), encoding="utf-8")
    architecture = architecture_of(load_pipeline(path))
    shape = {"columns": [{"kind": "number", "counts": [9, 0]}] * 2, "numeric": 0, "cardinalities": []}
    density = RecordDensity.build(architecture | shape)
    assert {key: density.config[key] for key in expected} == expected
    assert {key: value for key, value in architecture.items() if value is not None}.items() <= density.config.items()
