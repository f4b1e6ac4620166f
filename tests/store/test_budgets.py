"""Error budgets: positions without gap, every batch decided once, by whatever number of processes, killed or not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from flowguard.calibration import FalseDiscoveryRate
from flowguard.store import Reservation, Store
from tests.store import laws
from tests.store.racing import lond

KEY = "fdr 0.1"


def never(t: int, discoveries_before: int) -> tuple[int, float]:
    raise AssertionError("decided twice")


def test_batches_are_decided_in_the_order_in_which_they_come(store: Store) -> None:
    seen: list[tuple[int, int]] = []

    def decide(t: int, discoveries_before: int) -> tuple[int, float]:
        seen.append((t, discoveries_before))
        return 10 * t, 0.1 / t

    before = datetime.now(UTC)
    made = [store.budgets.reserve("meters", KEY, batch=batch, records=50, decide=decide) for batch in ("z", "a", "m")]
    assert seen == [(1, 0), (2, 10), (3, 30)]
    assert [(row.batch, row.t, row.records, row.discoveries, row.level) for row in made] == [
        ("z", 1, 50, 10, 0.1),
        ("a", 2, 50, 20, 0.05),
        ("m", 3, 50, 30, 0.1 / 3),
    ]
    assert all(before <= row.decided_at <= datetime.now(UTC) for row in made)
    assert store.budgets.of("meters", KEY) == made


def test_a_batch_that_was_decided_gets_its_decision_back(url: str, store: Store) -> None:
    made = [store.budgets.reserve("meters", KEY, batch=batch, records=50, decide=lond) for batch in "abc"]
    again = Store.open(url).budgets.reserve("meters", KEY, batch="b", records=49, decide=never)
    assert again == made[1]
    assert store.budgets.of("meters", KEY) == made


def test_pipelines_and_policies_have_budgets_of_their_own(store: Store) -> None:
    for pipeline, key in (("meters", KEY), ("pumps", KEY), ("meters", "fdr 0.2")):
        row = store.budgets.reserve(pipeline, key, batch="a", records=50, decide=lambda t, before: (5, 0.5))
        assert (row.t, row.discoveries_before) == (1, 0)


def test_a_decision_that_fails_spends_nothing(store: Store) -> None:
    def fails(t: int, discoveries_before: int) -> tuple[int, float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.budgets.reserve("meters", KEY, batch="a", records=50, decide=fails)
    assert store.budgets.of("meters", KEY) == []


@pytest.mark.parametrize("wrong", [(51, 0.1), (-1, 0.1), (1, float("nan")), (1, float("inf")), (1, -0.1)])
def test_an_impossible_decision_is_refused(store: Store, wrong: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="batch a of meters"):
        store.budgets.reserve("meters", KEY, batch="a", records=50, decide=lambda t, before: wrong)
    assert store.budgets.of("meters", KEY) == []


def test_the_pooled_false_discovery_rate_decides_in_turn(store: Store) -> None:
    decide = FalseDiscoveryRate(0.2, pooled=True).in_turn(np.array([0.9, *[0.001] * 9]), n_reference=999)
    made = [store.budgets.reserve("meters", KEY, batch=f"{day:02}", records=10, decide=decide) for day in range(1, 31)]
    assert [row.discoveries for row in made[:2]] == [9, 9]
    assert made[-1].discoveries_before == sum(row.discoveries for row in made[:-1])


def test_after_many_discoveries_a_level_may_be_above_one(store: Store) -> None:
    made = store.budgets.reserve("meters", KEY, batch="a", records=50, decide=lambda t, before: (50, 1.5))
    assert store.budgets.of("meters", KEY) == [made]


def test_numbers_of_numpy_are_kept_as_numbers(store: Store) -> None:
    def decide(t: int, discoveries_before: int) -> tuple[int, float]:
        return np.int64(3), np.float32(0.5)  # type: ignore[return-value]

    made = store.budgets.reserve("meters", KEY, batch="a", records=np.int64(50), decide=decide)  # type: ignore[arg-type]
    (found,) = store.budgets.of("meters", KEY)
    assert found == made == Reservation("meters", KEY, "a", 1, 50, 0, 3, 0.5, made.decided_at)


def test_racing_decisions_are_in_one_order(url: str) -> None:
    laws.racing_decisions_are_in_one_order(url)


def test_a_killed_decision_spends_nothing(url: str, tmp_path: Path) -> None:
    laws.a_killed_decision_spends_nothing(url, tmp_path)
