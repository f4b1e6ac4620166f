"""What scores are made of: checked once, so that no score has to."""

from __future__ import annotations

import numpy as np
import pytest

from flowguard.calibration import Parts
from flowguard.errors import CalibrationError, FlowguardError

NAMES = ("log_mass", "log_density", "pattern", "mass_terms", "density_terms")


def three() -> Parts:
    mass_terms = np.array([[-0.1, -0.2], [-0.3, -0.4], [-0.5, -0.6]])
    density_terms = np.array([[1.0, 2.0], [0.0, -3.0], [0.0, 0.0]])
    pattern = ["11", "01", "02"]
    return Parts(mass_terms.sum(axis=1), density_terms.sum(axis=1), pattern, mass_terms, density_terms)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    for mass, density in ((bad, 0.0), (0.0, bad), (bad, -np.inf)):
        with pytest.raises(FlowguardError, match="1 of 1 records have a log-likelihood that is no number"):
            Parts([mass], [density], ["11"])
    with pytest.raises(FlowguardError, match="column's log density is no number"):
        Parts([0.0], [0.0], ["11"], density_terms=[[0.0, bad]])
    with pytest.raises(FlowguardError, match="column's log probability is no number"):
        Parts([0.0], [0.0], ["11"], mass_terms=[[0.0, bad]])


def test_minus_infinity_is_held_where_sums_of_it_stay_finite() -> None:
    low = [[-np.inf, 0.0]]
    parts = Parts([-np.inf], [-np.inf], ["11"], low, low)
    assert parts.log_mass[0] == parts.log_density[0] == -1e300
    assert parts.mass_terms.tolist() == parts.density_terms.tolist() == [[-1e300, 0.0]]  # type: ignore[union-attr]


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Parts([0.0], [0.0, 1.0], ["1"])
    with pytest.raises(ValueError, match="2 records but mass_terms of shape"):
        Parts([0.0, 0.0], [0.0, 1.0], ["1", "1"], mass_terms=[[0.0]])


def test_taking_and_joining_give_the_records_back() -> None:
    parts = three()
    again = Parts.join([parts.take(np.array([True, False, False])), parts.take([1, 2]), parts.take([])])
    assert len(again) == 3
    for name in NAMES:
        assert np.array_equal(getattr(again, name), getattr(parts, name))
    assert Parts.join([Parts([0.0], [0.0], ["1"])]).mass_terms is None


def test_each_column_says_what_it_is() -> None:
    mass, density, continuous = three().kinds("sum")
    assert (mass.shape, density.shape) == ((3, 2), (3, 2))
    assert continuous.tolist() == [[True, True], [False, True], [False, False]]
    assert three().columns("largest")[1].tolist() == [["1", "1"], ["0", "1"], ["0", "2"]]


def test_without_terms_by_column_the_remedy_is_named() -> None:
    without = Parts([0.0], [0.0], ["1"])
    for ask in (without.columns, without.kinds):
        with pytest.raises(CalibrationError, match=r"score: sum.*no exact terms by column.*order: single"):
            ask("sum")
