from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding.lattice import Lattice, find_step


@given(
    step=st.sampled_from([1.0, 60.0, 0.1, 0.25, 0.18, 1e-6, 1e9]),
    offset=st.sampled_from([0.0, 39.02, -1e4]),
    places=st.lists(st.integers(-5000, 5000), min_size=3, max_size=200, unique=True),
)
@settings(max_examples=150, deadline=None)
def test_the_step_of_a_lattice_divides_its_gaps_and_is_the_largest(
    step: float, offset: float, places: list[int]
) -> None:
    whole = int(np.gcd.reduce(np.diff(sorted(places))))
    found = find_step(np.sort(offset * step + step * np.array(places)))
    assert found == pytest.approx(whole * step, rel=1e-6)


def test_a_step_that_is_no_decimal_is_found_too() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        places = np.unique(random.integers(-5000, 5000, 100))
        assert find_step((1e3 + places) / 3) == pytest.approx(np.gcd.reduce(np.diff(places)) / 3, rel=1e-9)


def test_a_continuum_has_no_step() -> None:
    random = np.random.default_rng(2)
    for values in (random.normal(size=20_000), random.lognormal(size=300), random.random(30)):
        assert find_step(np.sort(values)) is None


def test_a_constant_has_no_step() -> None:
    assert find_step(np.full(9, 3.0)) is None
    assert find_step(np.array([])) is None


def test_numbers_kept_in_single_precision_still_have_their_step() -> None:
    values = np.sort(np.float32(np.arange(0, 1000) / 10).astype(np.float64))
    assert find_step(values) == pytest.approx(0.1, rel=1e-6)


def test_a_few_values_between_the_points_do_not_hide_the_lattice() -> None:
    random = np.random.default_rng(3)
    values = np.sort(np.append(random.integers(0, 300, 20_000).astype(float), [17.123, 3.77]))
    assert find_step(values) == 1.0


def test_a_span_of_more_than_four_billion_steps_is_a_continuum() -> None:
    assert find_step(np.array([0.0, 1.0, 2.0**33])) is None


def test_a_far_out_code_for_missing_does_not_hide_whole_minutes() -> None:
    minutes = np.random.default_rng(4).integers(0, 500, 20_000).astype(float)
    assert find_step(np.sort(np.append(minutes, np.full(300, 999_999_999.0)))) == 1.0


@pytest.mark.parametrize("values", [[-1.7e308, 0.0, 1.7e308], [0.0, 5e-324, 1e-323], [1.0, 1e300]])
def test_extreme_values_do_no_harm(values: list[float]) -> None:
    step = find_step(np.array(values))
    assert step is None or step > 0


@pytest.mark.parametrize(
    ("values", "step", "offset", "rounding"),
    [
        (np.arange(50.0), 1.0, 0.0, 0.0),
        (5 * np.arange(50.0) + 2, 5.0, 2.0, 0.0),
        (np.arange(-20, 20) + 0.5, 1.0, 0.5, 0.0),
        (np.arange(-300, 300) / 10, 0.1, 0.0, 32 * 2.0**-52),
        (np.float32(np.arange(-300, 300) / 10).astype(float), 0.1, 0.0, 2.0**-22),
    ],
    ids=["whole", "fives", "halves", "tenths", "single precision"],
)
def test_a_lattice_has_step_offset_and_the_least_rounding_that_its_values_need(
    values: np.ndarray, step: float, offset: float, rounding: float
) -> None:
    lattice = Lattice.of(values)
    assert (lattice.step, lattice.rounding) == (step, rounding)
    assert lattice.offset == pytest.approx(offset, abs=1e-12)
    assert lattice.holds(values).all()
    assert not lattice.holds(values + step / 100).any()


def test_a_step_that_is_no_decimal_holds_its_values_and_those_around() -> None:
    values = np.sort(np.rint(np.random.default_rng(5).normal(0, 300, 4000)) / 3)
    lattice = Lattice.of(values)
    assert lattice.rounding < 1e-8
    assert lattice.holds(values).all()
    assert lattice.holds(np.arange(-20_000, 20_000) / 3).all()
    assert not lattice.holds(values + 1 / 30).any()


def test_the_upper_edge_of_a_point_is_the_lower_edge_of_the_next_bit_for_bit() -> None:
    for values in (np.arange(-300, 300) / 10, np.arange(0, 900) / 3, 1e9 + 7 * np.arange(500.0)):
        lattice = Lattice.of(values)
        below, above = lattice.edges(values)
        assert above[:-1].tobytes() == below[1:].tobytes()
        assert np.allclose((above - below) / lattice.step, 1, atol=1e-5)


def test_odd_values_amid_the_points_are_not_held() -> None:
    random = np.random.default_rng(3)
    odd = [17.123, 3.77]
    values = np.sort(np.append(random.integers(0, 300, 20_000).astype(float), odd))
    lattice = Lattice.of(values)
    assert values[~lattice.holds(values)].tolist() == sorted(odd)
    assert lattice.nearest(np.array(odd)).tolist() == [17.0, 4.0]


def test_beyond_what_float64_resolves_every_value_is_a_point() -> None:
    for values in (np.arange(50.0), np.arange(50) / 10, np.arange(50) * 1e295):
        lattice = Lattice.of(values)
        far = np.array([1e300, -1e300, 1.7e308, -1.7e308])
        assert lattice.holds(far).all() or lattice.step > 1e290
        assert np.isfinite(lattice.nearest(far)).all()
        assert np.isfinite(lattice.edges(far)).all()


def test_a_continuum_has_no_lattice_and_a_lattice_survives_json() -> None:
    import json

    assert Lattice.of(np.sort(np.random.default_rng(6).normal(size=500))) is None
    lattice = Lattice.of(np.arange(50) / 3)
    assert Lattice.from_dict(json.loads(json.dumps(lattice.to_dict()))) == lattice
