"""The flights pipeline with every family: trained for one epoch, registered, and a day scored."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import FLOWGUARD, Demo
from tests.e2e.process import plain_environment

pytestmark = pytest.mark.e2e

MODELS = {
    "affine": "family: maf\n  transformer: affine",
    "mixture": "family: maf\n  transformer: mixture",
    "orders": "family: maf\n  orders: 2",
    "permuted": "family: maf\n  order: random",
    "realnvp": "family: realnvp",
    "continuous": "family: continuous\n  steps: 4\n  hidden: [16]",
    "gaussian": "family: gaussian",
}


def written(demo: Demo, folder: Path, name: str) -> Path:
    """A project with the demo's data and the flights pipeline with another model."""
    (folder / "pipelines").mkdir()
    (folder / "data").symlink_to(demo.folder / "data")
    text = (demo.folder / "pipelines/flights.yaml").read_text(encoding="utf-8")
    text = re.sub(r"\nmodel:\n(  .*\n)+", f"\nmodel:\n  {MODELS[name]}\n  epochs: 1\n", text)
    text = text.replace("name: flights\n", f"name: flights-{name}\n")
    if name in ("permuted", "realnvp", "continuous"):  # which have no terms by column
        text = text.replace("score: largest", "score: default")
    path = folder / f"pipelines/flights-{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", MODELS)
def test_the_flights_pipeline_trains_and_scores_with_every_family(demo: Demo, tmp_path: Path, name: str) -> None:
    path = written(demo, tmp_path, name)

    def flowguard(*arguments: str) -> str:
        done = subprocess.run(
            [FLOWGUARD, *arguments],
            cwd=tmp_path,
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    flowguard("train", str(path))
    flowguard("score", str(path), "--batch", "2013-05-25")
    (version,) = json.loads(flowguard("models", f"flights-{name}", "--json"))
    assert version["aliases"] == ["champion"]
    (manifest,) = (tmp_path / f"runs/flights-{name}/manifests").rglob("*.json")
    scored = json.loads(manifest.read_text(encoding="utf-8"))
    assert scored["scored"] + sum(scored["quarantined"].values()) == scored["read"] > 500
