"""Which records are left out of the likelihood, and what that does to a fit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flowguard.density import Inputs, RecordDensity
from flowguard.training import Records, TrainingSettings, train
from flowguard.training.trimming import excesses, kept, usual_log_det
from flowguard.training.validation import mean_nll

CPU = torch.device("cpu")
NUMBER = {"kind": "number", "counts": [90, 10]}


def plain(x: torch.Tensor) -> Records:
    return Records(Inputs.plain(x), torch.zeros_like(x))


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50),
    st.floats(0, 0.49),
    st.floats(0, 1, exclude_max=True),
)
def test_the_largest_excesses_go_and_no_more_than_their_share(values: list[float], share: float, draw: float) -> None:
    excess = torch.tensor(values)
    stay = kept(excess, share, draw=draw)
    gone = int((~stay).sum())
    assert gone in {math.floor(share * len(values)), math.ceil(share * len(values))} | {len(values) - 1}
    assert stay.any()
    if gone:
        assert excess[~stay].min() >= excess[stay].max()


def test_small_batches_lose_their_share_on_average() -> None:
    draws = np.random.default_rng(0).random(20_000)
    gone = [int((~kept(torch.arange(5.0), 0.05, draw=draw)).sum()) for draw in draws]
    assert np.mean(gone) == pytest.approx(0.25, abs=0.015)
    assert int((~kept(torch.arange(5.0), 0.05)).sum()) == 0


def test_what_is_no_number_goes_first() -> None:
    assert kept(torch.tensor([1.0, math.nan, math.inf, 2.0]), 0.25).tolist() == [True, False, True, True]


@pytest.mark.parametrize("share", [-0.01, 0.5, 1.0])
def test_another_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="contamination"):
        kept(torch.zeros(4), share)
    with pytest.raises(ValueError, match="contamination"):
        TrainingSettings(contamination=share)


def test_records_of_different_patterns_are_left_out_alike() -> None:
    """Standard normals, some of them with one value of four: a density of one value is far larger."""
    density = RecordDensity.build({"columns": [NUMBER] * 4, "numeric": 0, "cardinalities": [], "family": "gaussian"})
    with torch.no_grad():
        for parameter in density.flow.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40_000, 4, generator=generator)
    inputs = Inputs.plain(x)
    inputs.codes[:20_000, 1:] = 1
    records = Records(inputs, torch.zeros_like(x))
    density.eval()
    with torch.no_grad():
        terms = density(inputs)
    excess = excesses(density, records, terms, usual=usual_log_det(density, records))
    # The excess of a standard normal has mean 0 whatever its number of coordinates.
    for part in (slice(0, 20_000), slice(20_000, None)):
        assert float(excess["density"][part].mean()) == pytest.approx(0.0, abs=0.04)
    assert torch.equal(excess["mass"], -terms.log_mass)


def test_the_validation_likelihood_leaves_out_the_same_share_across_chunks() -> None:
    density = RecordDensity.build(
        {"columns": [{"kind": "number", "counts": [90, 0]}], "numeric": 0, "cardinalities": []}
    )
    x = torch.randn(200, 1, generator=torch.Generator().manual_seed(1))
    x[:10] = 50.0
    log_det = torch.linspace(-0.1, 0.1, 200, dtype=torch.float64)[:, None]
    records = replace(plain(x), log_det=log_det)
    trimmed = mean_nll(
        density, [records.take(slice(0, 7)), records.take(slice(7, None))], device=CPU, contamination=0.05
    )
    without = mean_nll(density, [records.take(slice(10, None))], device=CPU)
    assert trimmed["density"] == pytest.approx(without["density"], abs=1e-6)
    assert mean_nll(density, [records], device=CPU)["density"] > without["density"] + 1


def test_a_fit_to_dirty_rows_finds_the_clean_density() -> None:
    """5 % of the records lie far off in both halves; without the option the density pays for them."""
    rng = np.random.default_rng(0)

    def rows(n: int, dirty: float) -> Records:
        x = rng.normal(size=(n, 2))
        x[:, 1] += x[:, 0]
        x[: int(n * dirty)] = rng.normal(size=(int(n * dirty), 2)) * 0.3 + [4, -4]
        return plain(torch.from_numpy(x.astype(np.float32)))

    training, validation, clean = rows(2000, 0.05), rows(500, 0.05), rows(4000, 0.0)
    config = {
        "columns": [{"kind": "number", "counts": [2000, 0]}] * 2,
        "numeric": 0,
        "cardinalities": [],
        "family": "gaussian",
    }
    found = {}
    for contamination in (0.0, 0.06):
        density = RecordDensity.build(config)
        settings = TrainingSettings(
            epochs=25, batch_size=100, learning_rate=0.02, contamination=contamination, patience=25
        )
        train(
            density,
            lambda epoch: iter([training]),
            validation=lambda: iter([validation]),
            rows=2000,
            settings=settings,
            device=CPU,
        )
        found[contamination] = mean_nll(density, [clean], device=CPU)["density"]
    entropy = math.log(2 * math.pi * math.e)
    assert found[0.06] == pytest.approx(entropy, abs=0.06)
    assert found[0.0] > entropy + 0.15
