"""The level of noise that a density is read at: chosen by held-out records, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flowguard.density import Inputs, RecordDensity
from flowguard.training import Epoch, Records, TrainingSettings, train
from flowguard.training.validation import choose_level, mean_nll

CPU = torch.device("cpu")
CONFIG = {
    "columns": [{"kind": "number", "counts": [60, 0]}] * 3,
    "numeric": 0,
    "cardinalities": [],
    "hidden": [64],
    "layers": 1,
    "bins": 16,
}


def sample(rows: int, seed: int) -> Records:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32))
    return Records(Inputs.plain(x), torch.zeros_like(x))


TRAINING, VALIDATION, TEST = sample(60, 1), sample(60, 2), sample(4000, 3)


def fitted(density: RecordDensity, *, epochs: int = 60, **options) -> float:  # type: ignore[no-untyped-def]
    result = train(
        density,
        lambda epoch: iter([TRAINING]),
        validation=lambda: iter([VALIDATION]),
        rows=len(TRAINING),
        settings=TrainingSettings(epochs=epochs, batch_size=20, learning_rate=0.01, patience=100, seed=1),
        device=CPU,
        **options,
    )
    return result.validation_nll


def level_of(density: RecordDensity) -> float:
    assert density.noise is not None
    return float(density.noise.level)


def test_the_level_chosen_is_the_best_of_the_candidates() -> None:
    density = RecordDensity.build({**CONFIG, "noise": 0.8})
    best = fitted(density, epochs=25)
    chosen = level_of(density)
    found = {}
    for level in density.noise.candidates:  # type: ignore[union-attr]
        density.noise.level.fill_(level)  # type: ignore[union-attr]
        found[level] = sum(mean_nll(density, [VALIDATION], device=CPU).values())
    assert min(found, key=lambda level: found[level]) == pytest.approx(chosen)
    assert min(found.values()) == pytest.approx(best, abs=1e-6)
    assert len(set(found.values())) == 5


def test_few_records_do_better_on_others_with_noise_than_without() -> None:
    noisy, plain = (RecordDensity.build({**CONFIG, "noise": noise}) for noise in (0.8, 0.0))
    fitted(noisy)
    fitted(plain)
    assert level_of(noisy) > 0
    assert mean_nll(noisy, [TEST], device=CPU)["density"] < mean_nll(plain, [TEST], device=CPU)["density"] - 0.02


def test_a_density_without_noise_has_nothing_to_choose() -> None:
    density = RecordDensity.build(CONFIG)
    expected = mean_nll(density, [VALIDATION], device=CPU)
    assert choose_level(density, lambda: [VALIDATION], device=CPU) == expected


def test_a_run_with_noise_and_dropout_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = {**CONFIG, "noise": 0.8, "dropout": 0.2}
    whole, resumed, fresh = (RecordDensity.build(config) for _ in range(3))
    fitted(whole, epochs=8)
    checkpoint = tmp_path / "checkpoint.pt"

    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 6:
            raise Killed

    with pytest.raises(Killed):
        fitted(resumed, epochs=8, checkpoint=checkpoint, run_key="a", on_epoch=kill)
    fitted(fresh, epochs=8, checkpoint=checkpoint, run_key="a")
    one, other = whole.state_dict(), fresh.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert level_of(fresh) == level_of(whole)
