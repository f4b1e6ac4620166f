"""Worse, no worse, or unsure: two models on the same records."""

from __future__ import annotations

import numpy as np
import pytest

from flowguard.calibration import Difference, auroc_difference, mean_difference
from flowguard.calibration.clustered import variance_of_mean


def test_of_independent_records_it_is_the_paired_t_of_scipy() -> None:
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(0)
    old = rng.normal(size=200)
    new = old - 0.1 + rng.normal(0, 0.5, 200)
    found = mean_difference(new, old, np.arange(200))
    oracle = ttest_rel(new, old)
    assert found.mean / found.standard_error == pytest.approx(oracle.statistic)
    assert found.degrees == oracle.df


@pytest.mark.parametrize(("truth", "answer"), [(-0.05, "worse"), (-0.0501, "no worse")])
def test_each_answer_errs_at_the_edge_with_the_level_asked(truth: float, answer: str) -> None:
    rng, runs = np.random.default_rng(2), 4000
    wrong = 0
    for _ in range(runs):
        found = mean_difference(rng.normal(truth, 1, 60), np.zeros(60), np.arange(60))
        wrong += found.answer(margin=0.05, level=0.05) == answer
    assert wrong / runs == pytest.approx(0.05, abs=0.012)


def test_records_of_a_day_that_are_alike_say_less() -> None:
    rng = np.random.default_rng(3)
    apart = rng.normal(0, 1, 20).repeat(50)
    by_record = mean_difference(apart, np.zeros(1000), np.arange(1000))
    by_day = mean_difference(apart, np.zeros(1000), np.arange(20).repeat(50))
    assert by_day.standard_error > 5 * by_record.standard_error
    assert (by_record.degrees, by_day.degrees) == (999, 19)


def test_one_day_alone_says_nothing_and_equal_models_are_no_worse() -> None:
    assert mean_difference([-5.0, -5.0], [0.0, 0.0], [1, 1]).answer(margin=0.05, level=0.01) == "unsure"
    assert Difference(0.0, 0.0, 9).answer(margin=0.0, level=0.01) == "no worse"
    with pytest.raises(ValueError, match="no record"):
        mean_difference([], [], [])


def test_an_auroc_is_that_of_scikit_learn_and_ties_count_half() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    scores = [np.round(rng.normal(shift, 1, 40), 1) for shift in (1.0, 0.5)]
    usual = [np.round(rng.normal(0, 1, 300), 1) for _ in range(2)]
    found = auroc_difference((scores[0], scores[1]), (usual[0], usual[1]), batches=np.arange(40), units=np.arange(300))
    for mine, strange, ordinary in zip((found.new, found.old), scores, usual, strict=True):
        truth = np.repeat([1, 0], [40, 300])
        assert mine == pytest.approx(roc_auc_score(truth, np.concatenate([strange, ordinary])))
    assert found.difference.mean == pytest.approx(found.new - found.old)


def test_the_error_of_an_auroc_difference_is_what_it_varies_by() -> None:
    rng, seen, told = np.random.default_rng(5), [], []
    for _ in range(600):
        strange, usual = rng.normal(1.2, 1, 30), rng.normal(0, 1, 120)
        found = auroc_difference(
            (strange + rng.normal(0, 0.7, 30), strange),
            (usual + rng.normal(0, 0.7, 120), usual),
            batches=np.arange(30),
            units=np.arange(120),
        )
        seen.append(found.difference.mean)
        told.append(found.difference.standard_error)
    assert np.mean(told) == pytest.approx(np.std(seen), rel=0.12)


def test_anomalies_of_one_batch_with_one_cause_count_as_one() -> None:
    strange, usual = np.tile([9.0, 0.5, 9.0, 0.5, 9.0], (8, 1)).T.ravel(), np.arange(50) / 25
    old = np.full(40, 9.0)
    apart = auroc_difference((strange, old), (usual, usual), batches=np.arange(40), units=np.arange(50))
    alike = auroc_difference((strange, old), (usual, usual), batches=np.arange(5).repeat(8), units=np.arange(50))
    assert alike.difference.standard_error > 2 * apart.difference.standard_error


def test_units_and_values_go_together() -> None:
    with pytest.raises(ValueError, match="2 values but 3 units"):
        variance_of_mean([1.0, 2.0], [1, 2, 3])
