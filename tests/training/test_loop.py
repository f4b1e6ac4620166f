"""The loop learns, stops, resumes to the same bits, and says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flowguard.density import Inputs, RecordDensity
from flowguard.errors import InputError, TrainingError
from flowguard.training import Epoch, Records, TrainingSettings, choose_device, train
from flowguard.training.validation import mean_nll

CPU = torch.device("cpu")
CONFIG = {
    "columns": [{"kind": "number", "counts": [2000, 0]}] * 2,
    "numeric": 1,
    "cardinalities": [],
    "hidden": [16],
    "layers": 1,
    "transformer": "affine",
}


def sample(rows: int, seed: int) -> Records:
    """x_0 | c ~ N(2c, 0.5), x_1 | x_0 ~ N(x_0, 0.3): a density that is known."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=(rows, 1))
    first = 2 * c[:, 0] + 0.5 * rng.normal(size=rows)
    second = first + 0.3 * rng.normal(size=rows)
    x = torch.from_numpy(np.column_stack([first, second]).astype(np.float32))
    inputs = Inputs.plain(x, torch.from_numpy(c.astype(np.float32)))
    return Records(inputs, torch.zeros_like(x))


TRAINING, VALIDATION = sample(2000, 1), sample(500, 2)
# The entropy of the known density: what no model can beat on average.
ENTROPY = sum(0.5 * math.log(2 * math.pi * math.e * s**2) for s in (0.5, 0.3))


def run(density: RecordDensity, epochs: int = 6, checkpoint: Path | None = None, **options):  # type: ignore[no-untyped-def]
    patience = options.pop("patience", 6)
    settings = TrainingSettings(epochs=epochs, batch_size=100, learning_rate=0.01, patience=patience, seed=7)
    chunks = options.pop("chunks", lambda epoch: iter([TRAINING]))
    return train(
        density,
        chunks,
        validation=lambda: iter([VALIDATION]),
        rows=len(TRAINING),
        settings=settings,
        device=CPU,
        checkpoint=checkpoint,
        **options,
    )


def weights(density: RecordDensity) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in density.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_comes_close_to_the_entropy_of_a_known_density() -> None:
    density = RecordDensity.build(CONFIG)
    result = run(density, epochs=15)
    assert ENTROPY - 0.1 < result.validation_nll < ENTROPY + 0.12


def test_equal_seeds_give_equal_weights() -> None:
    first, second = RecordDensity.build(CONFIG), RecordDensity.build(CONFIG)
    run(first, epochs=2)
    run(second, epochs=2)
    assert same(weights(first), weights(second))


def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, resumed = RecordDensity.build(CONFIG), RecordDensity.build(CONFIG)
    run(whole, epochs=4)
    checkpoint = tmp_path / "checkpoint.pt"

    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        run(resumed, epochs=4, checkpoint=checkpoint, run_key="a", on_epoch=kill)
    fresh = RecordDensity.build(CONFIG)
    result = run(fresh, epochs=4, checkpoint=checkpoint, run_key="a")
    assert result.resumed_at == 3
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4]
    assert same(weights(whole), weights(fresh))


@pytest.mark.parametrize("share", [-0.01, 0.5, 1.0])
def test_a_share_that_cannot_be_contamination_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="contamination"):
        TrainingSettings(contamination=share)


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_not_continued(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    run(RecordDensity.build(CONFIG), epochs=1, checkpoint=checkpoint, run_key="a")
    assert run(RecordDensity.build(CONFIG), epochs=1, checkpoint=checkpoint, run_key="b").resumed_at is None
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    assert run(RecordDensity.build(CONFIG), epochs=1, checkpoint=checkpoint, run_key="b").resumed_at is None


def test_training_stops_when_validation_no_longer_improves() -> None:
    density = RecordDensity.build(CONFIG)
    # Eight records and no limit on time: validation turns early.
    few = TRAINING.take(slice(0, 8))
    result = run(density, epochs=400, patience=3, chunks=lambda epoch: iter([few] * 4))
    assert result.stopped == "patience"
    best = result.best_epochs["density"]
    assert len(result.history) == best + 3
    assert result.history[best - 1].validation_density_nll == min(e.validation_density_nll for e in result.history)


def test_the_density_keeps_the_best_weights_not_the_last() -> None:
    density = RecordDensity.build(CONFIG)
    few = TRAINING.take(slice(0, 8))
    result = run(density, epochs=60, patience=5, chunks=lambda epoch: iter([few] * 4))
    assert result.best_epochs["density"] < len(result.history)
    assert sum(mean_nll(density, [VALIDATION], device=CPU).values()) == pytest.approx(result.validation_nll, abs=1e-6)


def test_no_record_to_train_on_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match="No record is left"):
        train(
            RecordDensity.build(CONFIG),
            lambda epoch: iter([]),
            validation=lambda: iter([VALIDATION]),
            rows=0,
            settings=TrainingSettings(),
            device=CPU,
        )


def test_no_record_to_validate_on_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match=r"validate on.*split\.validation"):
        train(
            RecordDensity.build(CONFIG),
            lambda epoch: iter([TRAINING]),
            validation=lambda: iter([]),
            rows=len(TRAINING),
            settings=TrainingSettings(epochs=1),
            device=CPU,
        )


def test_a_density_without_weights_is_validated_and_left_as_it_is() -> None:
    """Every record has the same value, so there is nothing to learn."""
    config = {"columns": [{"kind": "category", "counts": [0, 0, 98]}], "numeric": 0, "cardinalities": []}
    density = RecordDensity.build(config)
    none = torch.zeros(98, 0)
    records = Records(Inputs(none, torch.full((98, 1), 2), none, none, none, none.long()), none)
    result = train(
        density,
        lambda epoch: iter([records]),
        validation=lambda: iter([records]),
        rows=98,
        settings=TrainingSettings(),
        device=CPU,
    )
    assert (result.history, result.stopped) == ((), "nothing to learn")
    assert result.validation_nll == pytest.approx(-math.log1p(-2 / 100))


def test_a_likelihood_that_is_never_finite_is_an_error_that_names_the_remedy() -> None:

    def chunks(epoch: int) -> Iterator[Records]:
        nowhere = torch.full_like(TRAINING.inputs.x, float("nan"))
        yield replace(TRAINING, inputs=replace(TRAINING.inputs, x=nowhere))

    with pytest.raises(TrainingError, match="learning_rate"):
        run(RecordDensity.build(CONFIG), epochs=1, chunks=chunks)


def test_cuda_that_is_not_there_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: auto"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


def test_each_part_keeps_the_weights_that_were_best_for_it() -> None:
    """Missing values that depend on nothing are overfitted at once; the values still have much to learn."""

    def masked(records: Records, seed: int) -> Records:
        missing = torch.from_numpy(np.random.default_rng(seed).random(records.inputs.x.shape) < 0.3)
        return replace(records, inputs=replace(records.inputs, codes=missing.long(), context=noise(len(records), seed)))

    def noise(rows: int, seed: int) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(seed + 100).normal(size=(rows, 8)).astype(np.float32))

    few, held = masked(TRAINING.take(slice(0, 300)), 1), masked(VALIDATION, 2)
    density = RecordDensity.build({**CONFIG, "numeric": 8, "columns": [{"kind": "number", "counts": [210, 90]}] * 2})
    settings = TrainingSettings(epochs=12, batch_size=50, learning_rate=0.01, seed=1, patience=12)
    result = train(
        density, lambda epoch: iter([few]), validation=lambda: iter([held]), rows=300, settings=settings, device=CPU
    )
    for part in ("mass", "density"):
        values = [getattr(epoch, f"validation_{part}_nll") for epoch in result.history]
        assert values[result.best_epochs[part] - 1] == min(values)
    together = min(epoch.validation_nll for epoch in result.history)
    assert result.validation_nll <= together
    assert result.best_epochs["mass"] != result.best_epochs["density"]
