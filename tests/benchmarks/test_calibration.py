"""The benchmark of error rates: the records have the density they are scored by, and every part gives its rows."""

from __future__ import annotations

import calibration
import numpy as np
import pytest
from calibration_records import COLUMNS, NOISE, Mixture
from scipy.stats import multivariate_normal


def test_the_exact_score_is_the_mixture_s() -> None:
    mixture = Mixture.of(0)
    records = mixture.draw(50, np.random.default_rng(0))
    density = np.mean(
        [
            multivariate_normal(mean, loading @ loading.T + NOISE**2 * np.eye(COLUMNS)).pdf(records)
            for mean, loading in zip(mixture.means, mixture.loadings, strict=True)
        ],
        axis=0,
    )
    assert mixture.score(records) == pytest.approx(-np.log(density))


def test_anomalies_are_strange_and_half_of_them_in_no_column_alone() -> None:
    mixture, rng = Mixture.of(0), np.random.default_rng(0)
    ordinary, odd = mixture.draw(20_000, rng), mixture.odd(2000, rng)
    assert np.median(mixture.score(odd)) > np.quantile(mixture.score(ordinary), 0.999)
    assert np.abs(odd[::2].mean(0) - ordinary.mean(0)).max() < 0.3
    assert odd[::2].std(0) == pytest.approx(ordinary.std(0), rel=0.1)


def test_every_part_gives_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "BATCHES", 20)
    monkeypatch.setattr(calibration, "EVERY", ((1, 2000), (10, 20_000), (10, 150_000)))
    monkeypatch.setattr(calibration, "DRAWN", 50_000)
    mixture = Mixture.of(1)
    scores = {"exact": mixture.score}
    for part, rows in (("null", 6), ("planted", 3), ("pooled", 6)):
        table = calibration.heads()[part]
        for section in calibration.planned(part, scores, mixture, runs=10, seed=0):
            for _, runs, steps in section:
                given = list(steps)
                assert given.count(None) == runs
                for row in given:
                    if row is not None:
                        table.add_row(*row)
                        assert len(row) == len(table.columns)
        assert table.row_count == rows
