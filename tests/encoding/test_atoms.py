from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowguard.encoding.atoms import atom_counts, atom_places, find_atoms


def atoms(*parts: np.ndarray | list[float]) -> tuple[float, ...]:
    return find_atoms(np.sort(np.concatenate(parts)))


def test_whole_minutes_are_no_atoms() -> None:
    random = np.random.default_rng(0)
    assert atoms(random.poisson(9, 3000)) == ()
    assert atoms(np.rint(random.normal(20, 15, 50_000))) == ()
    assert atoms(np.rint(random.normal(0, 3, 50_000))) == ()


def test_a_continuum_has_no_atoms() -> None:
    assert atoms(np.random.default_rng(1).normal(size=50_000)) == ()


def test_zeros_of_a_zero_inflated_column_are_an_atom() -> None:
    random = np.random.default_rng(2)
    assert atoms(np.zeros(900), random.lognormal(size=100)) == (0.0,)
    assert atoms(np.zeros(2000), random.poisson(40, 2000)) == (0.0,)


def test_a_cap_at_the_greatest_value_is_an_atom() -> None:
    assert atoms(np.minimum(np.random.default_rng(3).normal(0, 1, 5000), 1.5)) == (1.5,)


def test_a_constant_but_for_a_few_is_an_atom() -> None:
    assert atoms(np.full(49_998, 7.0), [1.0, 8.0]) == (7.0,)
    assert atoms(np.full(50_000, 7.0)) == (7.0,)


def test_two_zero_inflated_neighbours_are_both_atoms() -> None:
    random = np.random.default_rng(4)
    assert atoms(np.zeros(400), np.ones(300), random.lognormal(3, 1, 300)) == (0.0, 1.0)
    assert atoms(np.zeros(500), np.ones(490), [7.0]) == (0.0, 1.0)
    assert atoms(np.zeros(500), np.ones(490), np.full(480, 2.0)) == ()


@pytest.mark.parametrize(("zeros", "found"), [(9, ()), (10, (0.0,)), (40, (0.0,))])
def test_in_eighty_rows_ten_are_needed(zeros: int, found: tuple[float, ...]) -> None:
    assert atoms(np.zeros(zeros), np.linspace(1, 2, 80 - zeros)) == found


def test_an_atom_has_a_hundredth_of_the_rows_and_ten_times_its_neighbours() -> None:
    smooth = np.random.default_rng(5).normal(size=10_000)
    assert atoms(smooth, np.full(101, 9.0)) == ()  # 1 % of 10,101 rows is a little more
    assert atoms(smooth, np.full(102, 9.0)) == (9.0,)
    lattice = np.repeat(np.arange(20.0), 100)
    assert atoms(lattice, np.full(899, 10.0)) == ()
    assert atoms(lattice, np.full(900, 10.0)) == (10.0,)


def test_neighbours_are_counted_on_one_side_at_an_end() -> None:
    assert atoms(np.zeros(50), [1.0] * 6, [2.0] * 6, [3.0] * 5, [4.0] * 5, [5.0] * 5, [6.0] * 90) == (6.0, 0.0)


def test_atoms_come_in_order_of_frequency_and_stand_out_from_all_but_four_others() -> None:
    smooth = np.random.default_rng(6).random(40_000) * 100
    # Ten smooth values lie between one spike and the next.
    few = [np.full(1000 + 10 * i, float(i)) for i in range(1, 6)]
    assert atoms(smooth, *few) == (5.0, 4.0, 3.0, 2.0, 1.0)
    assert atoms(smooth, *few, np.full(1060, 6.0)) == ()


def test_ties_of_frequency_go_by_value_and_minus_zero_is_zero() -> None:
    found = atoms(np.full(50, 3.0), np.full(50, -3.0), [-0.0] * 50, np.linspace(10, 11, 50))
    assert found == (-3.0, 0.0, 3.0)
    assert str(found[1]) == "0.0"


def test_places_need_exact_equality() -> None:
    near = np.nextafter(0.1, 1)
    places = atom_places(np.array([0.1, near, -0.0, 5e-324, np.nan, np.inf, 1e300]), (0.1, 0.0))
    assert places.tolist() == [0, -1, 1, -1, -1, -1, -1]
    assert atom_places(np.array([1.0, np.nan]), ()).tolist() == [-1, -1]


@given(st.lists(st.integers(0, 6), max_size=50), st.lists(st.integers(0, 5), min_size=1, unique=True))
def test_places_equal_a_search_one_by_one(values: list[int], known: list[int]) -> None:
    found = atom_places(np.array(values, dtype=float), [float(value) for value in known])
    assert found.tolist() == [known.index(value) if value in known else -1 for value in values]


def test_counts_are_the_share_of_the_sample_and_sum_to_the_rows() -> None:
    sample = np.sort(np.concatenate([np.zeros(30), np.ones(10), np.linspace(2, 3, 60)]))
    assert atom_counts(sample, (0.0, 1.0), observed=100) == (60, 30, 10)
    assert atom_counts(sample, (0.0, 1.0), observed=1_000_003) == (600_002, 300_001, 100_000)
    assert atom_counts(sample, (), observed=7) == (7,)


def test_what_the_sample_missed_counts_at_least_once() -> None:
    assert atom_counts(np.zeros(50_000), (0.0,), observed=1_000_000) == (1, 999_999)


def test_the_points_of_a_lattice_are_no_atoms_where_a_few_odd_values_stand_between_them() -> None:
    """Temperatures in whole degrees, a twentieth of them from an instrument with decimals."""
    random = np.random.default_rng(0)
    whole = np.rint(random.normal(12, 6, 20_000))
    odd = np.round(random.normal(12, 6, 1000), 2)
    assert find_atoms(np.sort(np.concatenate([whole, odd]))) == ()
