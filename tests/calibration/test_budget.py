from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.calibration import Budget, PValues
from flowguard.errors import CalibrationError


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "3", None])
def test_a_budget_that_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(CalibrationError, match="1 or more"):
        Budget(count)  # type: ignore[arg-type]


def test_p_values_then_scores_then_ids_by_hand() -> None:
    p = [0.1, 0.1, 0.1, 0.2, 0.1]
    score = [5.0, 7.0, 5.0, 99.0, 5.0]
    ids = ["d", "z", "b", "a", "c"]
    chosen = [Budget(k).decide(p, score=score, record_id=ids, n_reference=9).flag.tolist() for k in (1, 2, 3, 4)]
    assert chosen[0] == [False, True, False, False, False]
    assert chosen[1] == [False, True, True, False, False]
    assert chosen[2] == [False, True, True, False, True]
    assert chosen[3] == [True, True, True, False, True]


def test_numbers_as_ids_are_ordered_as_numbers() -> None:
    decision = Budget(1).decide([0.5, 0.5], record_id=[10, 9], n_reference=9)
    assert decision.flag.tolist() == [False, True]


def test_the_rate_it_came_to_is_reported() -> None:
    p = np.arange(1, 1001) / 1001
    decision = Budget(50).decide(p, n_reference=1000)
    assert decision.level == pytest.approx(50 / 1001)
    assert decision.note is None
    assert "50 strangest of 1,000 records" in decision.guarantee
    assert "(5 %)" in decision.guarantee
    assert "0.05" in decision.guarantee


def test_a_budget_beyond_the_batch_flags_it_all_and_says_so() -> None:
    decision = Budget(5).decide([0.2, 0.9], n_reference=9)
    assert decision.flag.all()
    assert decision.note is not None
    assert "whole batch" in decision.note


def test_ties_at_the_end_of_the_budget_need_ids() -> None:
    with pytest.raises(ValueError, match="record ids"):
        Budget(1).decide([0.1, 0.1], n_reference=9)
    with pytest.raises(ValueError, match="record ids"):
        Budget(1).decide([0.1, 0.1], score=[3.0, 3.0], n_reference=9)
    assert Budget(2).decide([0.1, 0.1, 0.2], n_reference=9).flag.tolist() == [True, True, False]
    assert Budget(1).decide([0.1, 0.1], score=[3.0, 4.0], n_reference=9).flag.tolist() == [False, True]


def test_scores_and_ids_that_cannot_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Budget(1).decide([0.1, 0.2], score=[1.0, np.nan], n_reference=9)
    with pytest.raises(ValueError, match="scores"):
        Budget(1).decide([0.1, 0.2], score=[1.0], n_reference=9)
    with pytest.raises(ValueError, match="ids"):
        Budget(1).decide([0.1, 0.2], record_id=["a"], n_reference=9)


def test_any_kind_of_p_value_will_do() -> None:
    for kind in ("smoothed", "cross", "weighted", "extrapolated"):
        assert Budget(1).decide(PValues(np.array([0.5, 1e-9]), kind), n_reference=9).flag.tolist() == [False, True]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=1, max_size=25),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_the_same_ids_are_chosen_in_every_order_and_never_too_many(
    rows: list[tuple[int, int]], count: int, random: np.random.Generator
) -> None:
    table = [(rank / 5, float(score), f"id{place}") for place, (rank, score) in enumerate(rows)]
    expected = {row[2] for row in sorted(table, key=lambda row: (row[0], -row[1], row[2]))[:count]}
    random.shuffle(table)  # type: ignore[arg-type]
    p, score, ids = zip(*table, strict=True)
    decision = Budget(count).decide(p, score=score, record_id=ids, n_reference=4)
    assert {name for name, flagged in zip(ids, decision.flag, strict=True) if flagged} == expected


def test_a_budget_with_a_tail_says_which_flags_rest_on_it() -> None:
    policy = Budget(2, extrapolate=True)
    with pytest.raises(CalibrationError, match="needs 200 calibration records in the reference; there are 199"):
        policy.check(199)
    decision = policy.decide([1e-5, 0.2, 0.5], score=[3.0, 2.0, 1.0], record_id=["a", "b", "c"], n_reference=999)
    assert decision.flag.tolist() == [True, True, False]
    assert decision.note == "The p-values of 1 flagged records rest on the model of the tail."
