from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np

from flowguard.calibration import Calibration, FalseAlarmRate, Parts
from flowguard.reports import calibration_plot, training_plot


def history(validation: list[float]) -> list[dict[str, float]]:
    return [{"epoch": i, "train_nll": v - 0.1, "validation_nll": v} for i, v in enumerate(validation, start=1)]


def test_the_training_plot_marks_the_best_epoch():
    drawing = training_plot(history([12.0, 10.5, 10.25, 10.75]))
    ElementTree.fromstring(drawing)
    assert "best: 10.25 in epoch 3" in drawing


def test_a_training_of_no_epoch_or_without_numbers_still_has_a_plot():
    for given in ([], history([math.nan])):
        ElementTree.fromstring(training_plot(given))


def test_the_calibration_plot_shows_the_rate_and_the_threshold():
    n = 5000
    scores = np.random.default_rng(0).gamma(2.0, 1.5, n)
    made = Calibration.fit(Parts(np.zeros(n), -scores, np.full(n, "1")), np.arange(n) % 50, policy=FalseAlarmRate(0.01))
    drawing = calibration_plot(made)
    ElementTree.fromstring(drawing)
    assert "5,000 calibration records" in drawing
    assert "at 1.00 % asked" in drawing
    assert drawing == calibration_plot(made)
    assert len(drawing) < 300_000
