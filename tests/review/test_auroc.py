"""AUROC by verdicts: the weighted estimate is scikit-learn's, its interval holds what it promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from flowguard.review import Auroc, Looked, auroc

RECORDS = st.lists(st.tuples(st.integers(0, 6).map(float), st.booleans()), max_size=8)


def batch(flagged: Any, drawn: Any, more: tuple[int, int] = (0, 0)) -> Looked:
    return Looked(len(flagged) + more[0], len(drawn) + more[1], flagged, drawn)


@given(st.lists(st.tuples(RECORDS, RECORDS, st.integers(0, 50), st.integers(0, 500)), min_size=1, max_size=5))
def test_the_estimate_is_the_weighted_area_of_scikit_learn(given: list[tuple[Any, Any, int, int]]) -> None:
    batches = [batch(flagged, drawn, (a, b)) for flagged, drawn, a, b in given]
    score, anomaly, weight = [], [], []
    for one in batches:
        kinds = ((one.flagged, one.flagged_size), (one.drawn, one.unflagged_size))
        if any(size and not its for its, size in kinds):
            continue
        for its, size in kinds:
            for value, odd in its:
                score.append(value)
                anomaly.append(odd)
                weight.append(size / len(its))
    found = auroc(batches)
    assert (found.confirmed, found.ordinary) == (sum(anomaly), len(anomaly) - sum(anomaly))
    if 0 < sum(anomaly) < len(anomaly):
        assert found.estimate == pytest.approx(roc_auc_score(anomaly, score, sample_weight=weight), abs=1e-12)
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.estimate <= found.high <= 1
    else:
        assert (found.estimate, found.low, found.high, str(found)) == (None, None, None, "unknown")


def test_infinite_scores_and_batches_with_nothing_flagged_count() -> None:
    day = batch([(np.inf, True), (9.0, False)], [(1.0, False), (-np.inf, False)], (0, 100))
    calm = batch([], [(2.0, False), (3.0, True)], (0, 100))
    found = auroc([day, calm])
    assert (found.batches, found.drawn, found.missed) == (2, 4, 1)
    everything = [(np.inf, 1, 1.0), (9.0, 0, 1.0), (1.0, 0, 51.0), (-1e9, 0, 51.0), (2.0, 0, 51.0), (3.0, 1, 51.0)]
    score, anomaly, weight = zip(*everything)
    score = [1e9 if value == np.inf else value for value in score]
    assert found.estimate == pytest.approx(roc_auc_score(anomaly, score, sample_weight=weight))


def test_a_kind_that_nobody_looked_at_has_no_weight_so_its_batch_is_left_out() -> None:
    good = batch([(9.0, True)], [(1.0, False)], (0, 9))
    assert auroc([good, Looked(5, 100, [], [(50.0, False)])]) == auroc([good])
    assert auroc([good, Looked(1, 100, [(0.5, True)], [])]) == auroc([good])
    assert auroc([]).estimate is None


def test_it_takes_enough_of_both_kinds_and_of_drawn_ones_to_be_shown() -> None:
    def found(confirmed: int, ordinary: int, drawn: int) -> Auroc:
        flagged = [(9.0, True)] * confirmed + [(8.0, False)] * ordinary
        return auroc([batch(flagged, [(1.0, False)] * drawn, (0, 100))])

    assert found(10, 0, 20).enough
    assert not found(9, 30, 20).enough
    assert not found(10, 30, 19).enough
    assert found(10, 0, 20).decided == 30


def test_an_estimate_of_one_is_not_certain() -> None:
    days = [batch([(9.0, True)], [(1.0, False)] * 5, (0, 995)) for _ in range(40)]
    found = auroc(days)
    assert found.estimate == 1.0
    assert found.low is not None
    # None of 200 drawn records was an anomaly: of 40,000 unflagged ones up to 740 may be, and 40 were flagged.
    assert found.low < 40 / 700
    more = auroc([batch([(9.0, True)] * 3, [(1.0, False)] * 500, (0, 500)) for _ in range(40)])
    assert more.low is not None
    assert more.low > 0.8, "with more that were drawn more is known"


@pytest.mark.parametrize(
    ("rate", "shift", "drawn", "batches", "clumped"),
    [(0.1, 2.0, 20, 12, False), (0.1, 0.0, 10, 30, False), (0.06, 1.5, 15, 30, True), (0.02, 2.0, 2, 30, False)],
    ids=["few batches", "a score of no worth", "batches that differ", "few drawn"],
)
def test_the_interval_covers_the_area_of_all_records(
    rate: float, shift: float, drawn: int, batches: int, clumped: bool
) -> None:
    misses, runs = 0, 120
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        looked, scores, odd = [], [], []
        for _ in range(batches):
            size = int(rng.integers(200, 800))
            by_day = rng.exponential() if clumped else 1.0
            anomaly = rng.random(size) < min(rate * by_day, 0.5)
            score = rng.normal(size=size) + shift * anomaly * (rng.uniform(0.3, 1.5) if clumped else 1.0)
            flag = score > 2.3
            scores.append(score)
            odd.append(anomaly)
            one, other = np.flatnonzero(flag), rng.permutation(np.flatnonzero(~flag))[:drawn]
            its = [[(float(score[row]), bool(anomaly[row])) for row in rows] for rows in (one, other)]
            looked.append(Looked(len(one), size - len(one), its[0], its[1]))
        score, anomaly = np.concatenate(scores), np.concatenate(odd)
        count = anomaly.sum()
        rank_sum = rankdata(score)[anomaly].sum() - count * (count + 1) / 2
        truth = rank_sum / (count * (~anomaly).sum())
        found = auroc(looked)
        assert found.low is not None
        assert found.high is not None
        misses += not found.low <= truth <= found.high
    # 5 % of 120 are 6; more than 12 would be met by chance once in a hundred times.
    assert misses <= 12
