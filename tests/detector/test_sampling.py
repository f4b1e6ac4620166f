"""Records drawn from a fitted detector: tables like the one of the fit, distributed as its density says."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.exceptions import NotFittedError

from flowguard import FlowDetector
from flowguard.errors import InputError

FAST: dict[str, Any] = {"training": {"epochs": 3}, "false_alarm_rate": 0.1, "random_state": 0}
N = 20_000


def orders(rows: int, seed: int) -> pd.DataFrame:
    """A context of text and number, a category, text, a boolean, counts, fives, a number with zeros, one with gaps."""
    random = np.random.default_rng(seed)
    shop = random.choice(["north", "south"], rows)
    load = random.uniform(0, 10, rows)
    south = shop == "south"
    return pd.DataFrame(
        {
            "grade": pd.Categorical(np.where(random.random(rows) < 0.8, "a", "b")),
            "shop": shop,
            "town": pd.Series(random.choice(["Ulm", "Bonn"], rows)).where(random.random(rows) < 0.9),
            "member": random.random(rows) < 0.3,
            "visits": random.poisson(2.0 + 8.0 * south),
            "load": load,
            "minutes": 5 * random.binomial(12, 0.5, rows) + 2,
            "price": 100 + 30 * load + random.normal(0, 5, rows),
            "tip": np.where(random.random(rows) < 0.4, 0.0, random.gamma(4, 2, rows)),
            "age": np.where(random.random(rows) < 0.25, np.nan, random.normal(40, 10, rows)),
        }
    )


@pytest.fixture(scope="module")
def fitted() -> FlowDetector:
    return FlowDetector(context=["shop", "load"], **FAST).fit(orders(1500, 0))


@pytest.fixture(scope="module")
def drawn(fitted: FlowDetector) -> pd.DataFrame:
    return fitted.sample(4000, context=orders(4000, 1)[["shop", "load"]], random_state=0)


def test_the_table_has_the_columns_of_the_fit_and_the_context_as_given(drawn: pd.DataFrame) -> None:
    assert list(drawn) == list(orders(5, 0))
    assert len(drawn) == 4000
    pd.testing.assert_frame_equal(drawn[["shop", "load"]], orders(4000, 1)[["shop", "load"]])


def test_categories_are_their_levels_and_numbers_in_the_units_of_the_table(drawn: pd.DataFrame) -> None:
    assert isinstance(drawn["grade"].dtype, pd.CategoricalDtype)
    assert set(drawn["grade"].dropna()) == {"a", "b"}
    assert set(drawn["town"].dropna()) == {"Ulm", "Bonn"}
    assert set(drawn["member"].dropna()) == {True, False}
    numbers = drawn[["visits", "minutes", "price", "tip", "age"]].to_numpy(dtype=float)
    assert np.isfinite(numbers[~np.isnan(numbers)]).all()


def test_integers_lie_on_their_lattice_and_atoms_come_exactly(drawn: pd.DataFrame) -> None:
    visits, minutes = drawn["visits"].dropna(), drawn["minutes"].dropna()
    assert (visits == visits.round()).all()
    assert set(minutes % 5) == {2}
    assert minutes.nunique() > 5
    assert (drawn["tip"] == 0).mean() == pytest.approx(0.4, abs=0.06)


def test_levels_gaps_and_means_are_those_of_the_table(drawn: pd.DataFrame) -> None:
    table = orders(1500, 0)
    for name in table:
        assert drawn[name].isna().mean() == pytest.approx(table[name].isna().mean(), abs=0.06), name
    assert (drawn["grade"] == "a").mean() == pytest.approx((table["grade"] == "a").mean(), abs=0.06)
    for name in ("minutes", "age"):
        assert drawn[name].mean() == pytest.approx(table[name].mean(), abs=0.25 * table[name].std()), name


def test_the_context_is_followed(fitted: FlowDetector) -> None:
    n = 2000
    north, south = (
        fitted.sample(n, context={"shop": [shop] * n, "load": [5.0] * n}, random_state=1) for shop in ("north", "south")
    )
    assert south["visits"].median() > north["visits"].median() + 4
    low, high = (
        fitted.sample(n, context={"shop": ["north"] * n, "load": [load] * n}, random_state=1) for load in (1.0, 9.0)
    )
    assert high["price"].median() > low["price"].median() + 100


def test_a_random_state_draws_the_same_records_and_a_generator_goes_on(fitted: FlowDetector) -> None:
    context = orders(50, 2)[["shop", "load"]]
    first, second, other = (fitted.sample(50, context=context, random_state=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(other)
    state = np.random.RandomState(3)
    pd.testing.assert_frame_equal(fitted.sample(50, context=context, random_state=state), first)
    assert not fitted.sample(50, context=context, random_state=state).equals(first)


def test_drawing_changes_nothing_that_is_scored_afterwards(fitted: FlowDetector) -> None:
    table = orders(200, 5)
    before = fitted.log_likelihood(table)
    drawn = fitted.sample(200, context=table, random_state=0)
    assert np.array_equal(fitted.log_likelihood(table), before)
    assert np.isfinite(fitted.log_likelihood(drawn)).all()
    assert type(fitted.detector_.density.discrete).__name__ == "DiscretePart"


def test_a_detector_that_was_sealed_draws_the_same(fitted: FlowDetector, tmp_path: Path) -> None:
    fitted.save(tmp_path / "sealed")
    context = pa.Table.from_pandas(orders(100, 6)[["load", "shop"]])
    again = FlowDetector.load(tmp_path / "sealed").sample(100, context=context, random_state=0)
    pd.testing.assert_frame_equal(again, fitted.sample(100, context=context, random_state=0))


# -- against the exact density ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [200, 0])
def test_discrete_records_come_as_often_as_their_likelihood_says(kernel: int) -> None:
    random = np.random.default_rng(1)
    side = random.random(1200) < 0.3
    table = pd.DataFrame(
        {
            "side": np.where(side, "left", "right"),
            "level": pd.Series(np.where(random.random(1200) < 0.8, np.where(side, "x", "y"), "z")),
            "count": random.poisson(np.where(side, 1.0, 3.0)),
        }
    )
    table.loc[random.random(1200) < 0.1, "level"] = None
    detector = FlowDetector(model={"kernel": kernel}, **FAST).fit(table)
    drawn = detector.sample(N, random_state=2)
    cells = list(itertools.product(["left", "right"], ["x", "y", "z", None], range(8)))
    chance = np.exp(detector.log_likelihood(pd.DataFrame(cells, columns=list(table))))
    assert chance.sum() > 0.97
    for (side_, level, count), expected in zip(cells, chance, strict=True):
        same = drawn["level"].isna() if level is None else drawn["level"] == level
        found = ((drawn["side"] == side_) & same & (drawn["count"] == count)).mean()
        # What the fit never saw has a thousandth by column, which goes to the others.
        assert found == pytest.approx(expected, abs=4.5 * math.sqrt(expected / N) + 0.003 * expected + 1e-4)


@pytest.mark.parametrize("model", [{}, {"kernel": 0}, {"family": "gaussian", "kernel": 100}])
def test_numbers_have_the_distribution_whose_likelihood_is_told(model: dict[str, Any]) -> None:
    random = np.random.default_rng(2)
    # Skewed, so that the front is far from a straight line.
    x = np.where(random.random(1000) < 0.2, np.nan, np.exp(random.normal(3, 0.6, 1000)))
    detector = FlowDetector(model={"kernel": 300, **model}, **FAST).fit(x[:, None])
    drawn = detector.sample(N, random_state=3)["x0"]
    missing = math.exp(detector.log_likelihood(np.array([[np.nan]]))[0])
    assert drawn.isna().mean() == pytest.approx(missing, abs=4.5 * math.sqrt(missing / N))
    grid = np.concatenate([np.linspace(-400, 0, 2000), np.linspace(0.05, 250, 5000), np.linspace(250.1, 3000, 4000)])
    density = np.exp(detector.log_likelihood(grid[:, None]))
    steps = np.diff(grid) * (density[1:] + density[:-1]) / 2
    # Grid and tails leave out less than draws can tell.
    assert missing + steps.sum() == pytest.approx(1, abs=0.005)
    cdf = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    there = np.sort(drawn.dropna().to_numpy())
    ranks = (np.arange(len(there)) + 0.5) / len(there)
    assert np.abs(np.interp(there, grid, cdf) - ranks).max() < 1.95 / math.sqrt(len(there)) + 0.005


def test_levels_that_were_never_seen_have_no_value_to_be_drawn() -> None:
    random = np.random.default_rng(3)
    table = pd.DataFrame({"name": [f"name {k}" for k in random.integers(0, 400, 500)], "x": random.normal(size=500)})
    detector = FlowDetector(model={"kernel": 100}, **FAST).fit(table)
    drawn = detector.sample(2000, random_state=0)
    # A third of the names is met once, so a new one is probable; missing is not.
    assert drawn["name"].isna().mean() < 0.02
    assert set(drawn["name"].dropna()) <= set(table["name"])


def test_arrays_have_columns_by_place_and_one_of_whole_numbers_stays_whole() -> None:
    random = np.random.default_rng(4)
    X = np.column_stack([random.integers(0, 50, 600), random.normal(3, 1, 600).round(1) * 10]).astype(int)
    detector = FlowDetector(context=[0], model={"kernel": 100}, **FAST).fit(X)
    drawn = detector.sample(300, context=X[:300, :1], random_state=0)
    assert list(drawn) == ["x0", "x1"]
    assert (drawn["x0"] == X[:300, 0]).all()
    whole = drawn["x1"].dropna()
    assert (whole == whole.round()).all()
    pd.testing.assert_frame_equal(detector.sample(300, context=X[:300], random_state=0), drawn)


# -- errors ----------------------------------------------------------------------------------------------------------


def test_a_context_that_is_left_out_or_does_not_fit_is_refused(fitted: FlowDetector) -> None:
    context = orders(5, 0)[["shop", "load"]]
    with pytest.raises(InputError, match="shop, load"):
        fitted.sample(5)
    with pytest.raises(InputError, match="5 rows for 6 records"):
        fitted.sample(6, context=context)
    with pytest.raises(InputError, match="'load'"):
        fitted.sample(5, context=context[["shop"]])
    with pytest.raises(InputError, match="'load'"):
        fitted.sample(5, context=context.assign(load="much"))
    with pytest.raises(InputError, match=r"Row 2 .*load is infinite"):
        fitted.sample(5, context=context.assign(load=[1, 1, np.inf, 1, 1]))
    with pytest.raises(InputError, match=r"shape \(5, 3\)"):
        fitted.sample(5, context=np.zeros((5, 3)))


def test_a_context_for_a_detector_without_any_is_refused() -> None:
    detector = FlowDetector(model={"kernel": 0}, **FAST).fit(np.random.default_rng(0).normal(size=(200, 2)))
    with pytest.raises(InputError, match="has none"):
        detector.sample(5, context=pd.DataFrame({"shop": ["north"] * 5}))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "5"])
def test_how_many_is_a_whole_number_of_at_least_one(fitted: FlowDetector, n: Any) -> None:
    with pytest.raises(InputError, match="at least 1"):
        fitted.sample(n, context=orders(5, 0)[["shop", "load"]])


def test_nothing_is_drawn_before_a_fit() -> None:
    with pytest.raises(NotFittedError):
        FlowDetector().sample(5)
