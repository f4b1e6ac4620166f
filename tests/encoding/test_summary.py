from __future__ import annotations

import numpy as np
import pytest

from flowguard.encoding.summary import CAPACITY, Few, Moments, Sample


def cut(values: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(sizes))


def test_moments_do_not_depend_on_how_the_stream_is_cut() -> None:
    values = np.random.default_rng(0).normal(1e9, 1e-3, 200_000)
    results = []
    for sizes in ([], [1, 2, 3], [70_000, 70_000], [65_536, 65_536], [199_999]):
        moments = Moments()
        for chunk in cut(values, sizes):
            moments.update(chunk)
        moments.finish()
        results.append((moments.count, moments.mean, moments.deviation, moments.low, moments.high))
    assert len(set(results)) == 1
    exact = values.astype(np.longdouble)
    assert results[0][1] == pytest.approx(float(exact.mean()), rel=1e-15)
    assert results[0][2] == pytest.approx(float(exact.std()), rel=1e-7)


def test_an_overflowing_variance_is_told_not_hidden() -> None:
    moments = Moments()
    moments.update(np.array([1e300, -1e300, 0.0]))
    moments.finish()
    assert not np.isfinite(moments.deviation)
    assert (moments.low, moments.high) == (-1e300, 1e300)


def test_a_sample_does_not_depend_on_how_the_stream_is_cut() -> None:
    values = np.random.default_rng(1).normal(size=260_000)
    seen = []
    for sizes in ([], [120_001], [1] * 50 + [99_999, 7]):
        sample = Sample("x", seed=3)
        for chunk in cut(values, sizes):
            sample.update(chunk)
        seen.append(sample.sorted())
    assert len(seen[0]) == CAPACITY
    assert all(np.array_equal(seen[0], other) for other in seen)


def test_a_sample_is_fair() -> None:
    sample = Sample("x", seed=4)
    for start in range(0, 400_000, 50_000):
        sample.update(np.arange(start, start + 50_000, dtype=np.float64))
    kept = sample.sorted()
    share = np.histogram(kept, bins=8, range=(0, 400_000))[0] / CAPACITY
    assert np.abs(share - 1 / 8).max() < 4 * np.sqrt(1 / 8 * 7 / 8 / CAPACITY)


def test_a_short_stream_is_kept_whole() -> None:
    sample = Sample("x", seed=5)
    sample.update(np.array([3.0, 1.0]))
    sample.update(np.array([2.0]))
    assert sample.sorted().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("sizes", [[], [1, 2], [3, 3, 1]])
def test_up_to_two_values_are_counted_exactly_however_the_stream_is_cut(sizes: list[int]) -> None:
    def counts(values: list[float]) -> dict[float, int] | None:
        few = Few()
        for chunk in cut(np.array(values), sizes):
            few.update(chunk)
        return few.counts

    assert counts([0.0, -0.0, 7.5, 0.0, 7.5, 7.5, 7.5]) == {0.0: 3, 7.5: 4}
    assert str(next(iter(counts([7.5, -0.0])))) == "0.0"
    assert counts([1.0] * 9) == {1.0: 9}
    assert counts([1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 3.0, 1.0]) is None
    assert counts([]) == {}
