from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding.continuous import NumberFeature, number_feature
from flowguard.encoding.number import NumberFit
from flowguard.encoding.settings import FeatureSettings


def fitted(values: np.ndarray, front: str = "quantile", *, atoms: bool = True) -> tuple[NumberFeature, list[str]]:
    fit = NumberFit("x", seed=0)
    fit.update(values)
    fit.finish()
    notices: list[str] = []
    return number_feature(fit, "x", FeatureSettings(front=front, atoms=atoms), notices), notices


def inflated(n: int = 4000, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = np.where(random.random(n) < 0.6, 0.0, random.lognormal(2, 1, n))
    return np.minimum(values, 20.0)


def test_atoms_have_codes_and_the_rest_a_density() -> None:
    values = inflated()
    feature, _ = fitted(values)
    assert feature.atoms == (0.0, 20.0)
    coded = feature.encode(pa.array([0.0, 20.0, 3.0, None, -0.0]), None)
    assert coded.codes.tolist() == [2, 3, 0, 1, 2]
    assert (coded.first[[0, 1, 3, 4]] == 0).all()
    assert (coded.second[[0, 1, 3, 4]] == 0).all()
    assert coded.second[2] != 0
    assert coded.infinite is None
    assert [feature.level_of(code) for code in range(4)] == [None, None, 0.0, 20.0]
    assert feature.counts == ((values % 20 > 0).sum(), 0, (values == 0).sum(), (values == 20).sum())


def test_the_front_is_that_of_the_values_that_are_no_atoms() -> None:
    values = inflated()
    rest = values[(values > 0) & (values < 20)]
    for front in ("quantile", "standard", "robust"):
        feature, _ = fitted(values, front)
        alone, _ = fitted(rest, front)
        assert alone.atoms == ()
        ours, theirs = (item.encode(pa.array(rest), None) for item in (feature, alone))
        assert np.allclose(ours.first, theirs.first, rtol=0, atol=1e-9)
        assert np.allclose(ours.second, theirs.second, rtol=0, atol=1e-9)


def test_atoms_are_never_dithered_and_the_lattice_of_the_rest_is() -> None:
    random = np.random.default_rng(1)
    # Whole minutes, and a code for "not known" that lies off their lattice.
    values = np.where(random.random(4000) < 0.3, -0.25, random.poisson(60, 4000))
    feature, _ = fitted(values)
    assert (feature.step, feature.atoms) == (1.0, (-0.25,))
    plain = feature.encode(pa.array(values), None)
    moved = feature.encode(pa.array(values), np.random.default_rng(2))
    usual = values >= 0
    assert np.array_equal(plain.codes, moved.codes)
    assert (moved.first[~usual] == 0).all()
    assert (moved.first[usual] != plain.first[usual]).all()
    apart = feature.decode(moved.first[usual]) - values[usual]
    assert np.abs(apart).max() <= 0.5 + 1e-9


def test_without_atoms_every_value_has_a_density() -> None:
    feature, _ = fitted(inflated(), atoms=False)
    assert (feature.atoms, len(feature.counts)) == ((), 2)
    assert (feature.encode(pa.array([0.0, 20.0]), None).codes == 0).all()


@pytest.mark.parametrize("front", ["quantile", "standard", "robust"])
@pytest.mark.parametrize("odd", [[5.0, 7.0], [5.0, 7.0, 7.3, -2.0], [1e300, -1e300]])
def test_a_front_exists_where_the_sample_missed_all_but_the_atom(front: str, odd: list[float]) -> None:
    values = np.zeros(1_000_000)
    values[1000 : 1000 + len(odd)] = odd
    feature, _ = fitted(values, front)
    assert feature.atoms == (0.0,)
    assert sum(feature.counts) == 1_000_000
    assert feature.counts[0] >= 1
    coded = feature.encode(pa.array([*odd, 0.0, 1.7e308]), None)
    assert coded.codes.tolist() == [0] * len(odd) + [2, 0]
    assert np.isfinite(coded.first).all()
    assert np.isfinite(coded.second).all()
    order = np.argsort(odd)
    assert (np.diff(coded.first[: len(odd)][order]) > 0).all()
    # The odd rows span the front, whatever the millions at the atom.
    assert np.abs(coded.first[: len(odd)]).max() < 10


def test_the_step_of_the_rest_is_found_beside_an_atom() -> None:
    random = np.random.default_rng(3)
    values = np.concatenate([np.full(3000, 0.123), 60.0 * random.poisson(20, 3000)])
    feature, _ = fitted(values)
    assert feature.atoms[0] == 0.123
    assert feature.step == 60.0


def test_counts_of_a_long_stream_are_estimates_that_sum_to_it() -> None:
    values = inflated(400_000)
    feature, _ = fitted(values)
    assert sum(feature.counts) == 400_000
    for code, value in ((2, 0.0), (3, 20.0)):
        true = (values == value).sum()
        assert abs(feature.counts[code] - true) < 5 * np.sqrt(true) * 400_000 / 50_000


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=100, unique=True),
    st.lists(st.integers(10, 60), max_size=3),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_encode_and_decode_are_inverse_and_json_keeps_the_bits(
    values: list[float], repeats: list[int], seed: int
) -> None:
    raw = np.array(values + [value for value, times in zip(values, repeats, strict=False) for _ in range(times)])
    raw = np.random.default_rng(seed).permutation(raw)
    feature, _ = fitted(raw)
    again = NumberFeature.from_dict(json.loads(json.dumps(feature.to_dict())))
    coded, same = feature.encode(pa.array(raw), None), again.encode(pa.array(raw), None)
    assert again.to_dict() == feature.to_dict()
    for name in ("codes", "first", "second"):
        assert getattr(coded, name).tobytes() == getattr(same, name).tobytes()
    back = feature.decode(coded.first)
    at = [feature.level_of(code) for code in coded.codes.tolist()]
    given_back = np.array([value if level is None else level for value, level in zip(back, at, strict=True)])
    assert np.allclose(given_back, raw, rtol=1e-9, atol=1e-9 * np.abs(raw).max() + 1e-300)
