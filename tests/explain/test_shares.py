from __future__ import annotations

import json

import numpy as np
import pytest

from flowguard.explain.shares import RARE, Baseline, column_terms


def rows(n: int = 400, d: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    terms = rng.gamma(2.0, 3.0, (n, d)) * rng.choice([1.0, 40.0], (n, d), p=[0.95, 0.05]) - 4.0
    return terms, rng.choice(["11111", "11011", "00000"], n, p=[0.8, 0.19, 0.01])


def test_shares_and_baseline_sum_to_minus_log_likelihood():
    rng = np.random.default_rng(1)
    mass, density, log_det = (
        -rng.gamma(1.0, 0.1, (300, 5)),
        rng.normal(-3, 9, (300, 5)),
        rng.normal(0, 6, (300, 5)),
    )
    terms = column_terms(mass, density, log_det)
    baseline = Baseline.fit(*rows())
    shares, rest = baseline.shares(terms, rng.choice(["11111", "11011", "never seen"], 300))
    log_likelihood = mass.sum(axis=1) + density.sum(axis=1) + log_det.sum(axis=1)
    np.testing.assert_allclose(shares.sum(axis=1) + rest, -log_likelihood, atol=1e-9, rtol=0)


def test_terms_are_summed_in_float64_whatever_comes_in():
    terms = column_terms(np.zeros((1, 1), np.float32), np.full((1, 1), 1e8, np.float32), np.full((1, 1), 1.0))
    assert terms.dtype == np.float64
    assert terms[0, 0] == -(1e8 + 1.0)


def test_terms_of_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\).*one shape"):
        column_terms(np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 3)))


def test_shares_do_not_change_with_a_column_s_units():
    terms, pattern = rows()
    other = terms + np.array([0.0, np.log(60.0), 0.0, 0.0, 0.0])
    before = Baseline.fit(terms, pattern).shares(terms, pattern)[0]
    after = Baseline.fit(other, pattern).shares(other, pattern)[0]
    np.testing.assert_allclose(before, after, atol=1e-12)


def test_shares_of_a_common_pattern_have_mean_zero():
    terms, pattern = rows()
    shares, _ = Baseline.fit(terms, pattern).shares(terms, pattern)
    np.testing.assert_allclose(shares[pattern == "11111"].mean(axis=0), 0.0, atol=1e-12)


def test_a_pattern_has_its_own_mean_from_the_fiftieth_row_on():
    terms = np.arange(200, dtype=float)[:, None]
    for count, own in ((RARE - 1, False), (RARE, True)):
        pattern = np.array(["1"] * (200 - count) + ["0"] * count)
        _, rest = Baseline.fit(terms, pattern).shares(terms[:1], ["0"])
        expected = terms[200 - count :].mean() if own else terms.mean()
        assert rest[0] == pytest.approx(expected)


def test_rare_and_unseen_patterns_share_the_pooled_mean():
    terms, pattern = rows()
    assert 0 < (pattern == "00000").sum() < RARE
    baseline = Baseline.fit(terms, pattern)
    _, rest = baseline.shares(terms[:2], ["00000", "10101"])
    np.testing.assert_allclose(rest, terms.mean(axis=0).sum())


def test_a_record_s_shares_do_not_depend_on_the_others():
    terms, pattern = rows()
    baseline = Baseline.fit(terms, pattern)
    together, rest = baseline.shares(terms, pattern)
    alone, lone = baseline.shares(terms[7:8], pattern[7:8])
    assert (together[7] == alone[0]).all()
    assert rest[7] == lone[0]


def test_a_baseline_survives_json_and_arrays_bit_for_bit():
    terms, pattern = rows()
    baseline = Baseline.fit(terms, pattern)
    facts, arrays = baseline.to_state()
    again = Baseline.from_state(json.loads(json.dumps(facts)), arrays)
    assert again.patterns == baseline.patterns
    for ours, theirs in zip(baseline.shares(terms, pattern), again.shares(terms, pattern), strict=True):
        assert (ours == theirs).all()


def test_a_baseline_without_a_common_pattern_survives_too():
    facts, arrays = Baseline.fit(np.ones((3, 2)), ["11", "10", "01"]).to_state()
    assert Baseline.from_state(facts, arrays).means.shape == (0, 2)


def test_no_records_have_no_shares():
    shares, rest = Baseline.fit(*rows()).shares(np.empty((0, 5)), [])
    assert shares.shape == (0, 5)
    assert rest.shape == (0,)


@pytest.mark.parametrize(
    ("terms", "pattern", "said"),
    [
        (np.empty((0, 2)), [], "at least one"),
        (np.array([[np.nan]]), ["1"], "finite"),
        (np.ones((2, 2)), ["11"], "one pattern per record"),
    ],
)
def test_a_baseline_of_nothing_or_nonsense_is_refused(terms, pattern, said):
    with pytest.raises(ValueError, match=said):
        Baseline.fit(terms, pattern)


def test_shares_of_another_number_of_columns_are_refused():
    with pytest.raises(ValueError, match="5 columns"):
        Baseline.fit(*rows()).shares(np.ones((1, 4)), ["1111"])
