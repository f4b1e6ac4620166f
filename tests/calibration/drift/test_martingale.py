from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.calibration.drift import Capital, coin, rank, threshold
from flowguard.calibration.drift.martingale import BETS, densities


def capital_after(days: int, ranks: np.ndarray) -> np.ndarray:
    """The highest log martingale of each column of ranks (days, columns)."""
    capital, highest = Capital.new(ranks.shape[1]), np.zeros(ranks.shape[1])
    for day in range(days):
        capital = capital.bet(ranks[day])
        highest = np.maximum(highest, capital.log)
    return highest


def test_ranks_by_hand() -> None:
    earlier = np.array([1.0, 2.0, 2.0, np.nan, 5.0])
    for value, above, equal in ((0.0, 4, 0), (1.0, 3, 1), (2.0, 1, 2), (3.0, 1, 0), (9.0, 0, 0)):
        assert rank(earlier, np.array(value), np.array(0.25)) == (above + 0.25 * (equal + 1)) / 5
    assert np.isnan(rank(earlier, np.array(np.nan), np.array(0.25)))
    assert rank(np.zeros(0), np.array(7.0), np.array(0.25)) == 0.25


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_the_last_rank_is_uniform_for_every_finite_population_with_ties(population: list[int]) -> None:
    # Each value is equally likely to be the last; over the coin, the ranks tile (0, 1) exactly.
    values = np.array(population, dtype=float)
    n = len(values)
    pieces = []
    for place in range(n):
        rest, value = np.delete(values, place), values[place : place + 1][0]
        low, high = (float(rank(rest, np.array(value), np.array(side))) for side in (0.0, 1.0))
        pieces.append((low, high))
    for at in (np.arange(97) + 1 / math.pi) / 97:
        density = sum((low < at < high) / (high - low) for low, high in pieces) / n
        assert density == pytest.approx(1.0)


def whole_interval() -> tuple[np.ndarray, np.ndarray]:
    """Points of (0, 1) with weights, dense at both ends, where the powers are infinite."""
    edge = 0.5 ** (1 / 12)
    v = (np.arange(20_000) + 0.5) / 20_000 * edge
    weights = 12 * v**11 * edge / 20_000
    return np.concatenate([v**12, 1 - v**12]), np.concatenate([weights, weights])


@pytest.mark.parametrize("bet", range(BETS))
def test_every_bet_is_a_density(bet: int) -> None:
    u, weights = whole_interval()
    mass = float(densities(u)[:, bet] @ weights)
    # Held back within 1e-12 of the ends, a power lacks a little, which is to the safe side.
    assert 0.99 < mass < 1 + 1e-4


def test_one_bet_keeps_its_mean_whatever_came_before() -> None:
    # E over u of the next capital, given the past, is the present one.
    u, weights = whole_interval()
    capital = Capital.new(())
    for value in np.random.default_rng(0).uniform(size=20) ** 3:
        capital = capital.bet(np.array(value))
        many = Capital(np.full(len(u), capital.log), np.broadcast_to(capital.shares, (len(u), *capital.shares.shape)))
        assert 0.99 < np.exp(many.bet(u).log - capital.log) @ weights < 1 + 1e-4
        assert capital.shares.sum() == pytest.approx(1.0)


def test_quiet_ranks_rarely_reach_a_level_and_ville_bounds_how_often() -> None:
    ranks = np.random.default_rng(1).uniform(size=(365, 4000))
    highest = capital_after(365, ranks)
    for level in (5, 20, 100):
        share = (highest >= math.log(level)).mean()
        assert share <= 1 / level + 3 * math.sqrt(1 / level / 4000)


def test_ranks_of_clustered_days_among_all_earlier_ones_are_quiet() -> None:
    # 2,000 years of a heavy-tailed statistic a day, at 60 initial days: P(any alarm) <= 0.05.
    random = np.random.default_rng(2)
    statistics = random.standard_t(2, size=(60 + 200, 2000))
    capital, highest = Capital.new(2000), np.zeros(2000)
    for day in range(60, 260):
        capital = capital.bet(rank(statistics[:day], statistics[day], random.uniform(size=2000)))
        highest = np.maximum(highest, capital.log)
    assert (highest >= threshold(1, 0.05)).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_ranks_among_a_fixed_reference_alone_are_found_out() -> None:
    # Why ranks are among all earlier batches: the luck of 10 reference days is in every rank among them.
    random = np.random.default_rng(3)
    statistics = random.normal(size=(10 + 365, 1000))
    capital, highest = Capital.new(1000), np.zeros(1000)
    for day in range(10, 375):
        capital = capital.bet(rank(statistics[:10], statistics[day], random.uniform(size=1000)))
        highest = np.maximum(highest, capital.log)
    assert (highest >= math.log(100)).mean() > 0.2


def test_a_change_late_in_a_long_quiet_time_is_still_found() -> None:
    random = np.random.default_rng(4)
    ranks = random.uniform(size=(2030, 200))
    ranks[2000:] *= 0.02
    capital = Capital.new(200)
    for day in range(2030):
        capital = capital.bet(ranks[day])
    assert (capital.log > math.log(3000)).all()


def test_ten_thousand_days_neither_overflow_nor_wither() -> None:
    capital = Capital.new(3)
    for _ in range(10_000):
        capital = capital.bet(np.array([1e-9, 0.5, 1 - 1e-9]))
    assert np.isfinite(capital.log).all()
    assert (capital.log > 1000).all()
    assert np.isfinite(capital.shares).all()
    assert np.isfinite(capital.bet(np.array([1 - 1e-9, 1.0, 0.0])).log).all()


def test_no_statistic_is_no_bet() -> None:
    capital = Capital.new(2).bet(np.array([0.01, 0.01]))
    after = capital.bet(np.array([np.nan, 0.01]))
    assert after.log[0] == capital.log[0]
    assert (after.shares[0] == capital.shares[0]).all()
    assert after.log[1] != capital.log[1]


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
@settings(max_examples=50)
def test_capital_goes_on_from_json_with_the_same_bits(ranks: list[float]) -> None:
    straight = stopped = Capital.new((1,))
    for u in ranks:
        straight = straight.bet(np.array([u]))
        stopped = Capital.from_json(json.loads(json.dumps(stopped.to_json()))).bet(np.array([u]))
    assert straight.log.tobytes() == stopped.log.tobytes()
    assert straight.shares.tobytes() == stopped.shares.tobytes()


def test_restart_is_where_it_is_asked_for() -> None:
    capital = Capital.new(2).bet(np.array([0.01, 0.01]))
    after = capital.restart(np.array([True, False]))
    assert after.log.tolist() == [0.0, capital.log[1]]
    assert (after.shares[0] == Capital.new(()).shares).all()


def test_coins_are_uniform_and_decided_by_their_names() -> None:
    coins = np.sort([coin("p", str(day), "score/level/") for day in range(4000)])
    assert np.abs(coins - (np.arange(4000) + 0.5) / 4000).max() < 1.95 / math.sqrt(4000)
    assert coin("ab", "c") != coin("a", "bc")
    assert coin("a") == coin("a")


def test_the_threshold_is_channels_over_chance() -> None:
    assert threshold(2, 0.01) == pytest.approx(math.log(200))
    for chance in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="chance"):
            threshold(2, chance)
