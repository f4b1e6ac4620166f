from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from flowguard import FlowDetector
from flowguard.detector.reasons_plot import plot_reasons

mpl.use("agg")


def test_a_record_is_drawn_with_a_bar_and_the_words_of_each_reason() -> None:
    random = np.random.default_rng(0)
    price = random.normal(100, 20, 400)
    table = pd.DataFrame({"price": price, "cost": price / 2 + random.normal(size=400), "n": random.normal(size=400)})
    detector = FlowDetector(random_state=0, model={"family": "gaussian", "kernel": 0}, training={"epochs": 5}).fit(
        table
    )
    table.loc[3, ["cost", "n"]] = 99.0, 30.0
    axes = detector.plot(table.iloc[:5], row=3)
    told = detector.explain(table.iloc[[3]], top=5)
    assert [text.get_text() for text in axes.texts] == told["words"].tolist()[::-1]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(told["contrast"].tolist()[::-1])
    assert len(told) >= 2
    mpl.pyplot.close(axes.figure)


def test_signs_of_dollars_are_text_and_axes_may_be_given() -> None:
    _, axes = mpl.pyplot.subplots()
    frame = pd.DataFrame({"rank": [1], "contrast": [np.nan], "share": [2.0], "words": ["cost $5 to $6"]})
    assert plot_reasons(frame, axes=axes) is axes
    axes.figure.canvas.draw()
    assert axes.patches[0].get_width() == 2.0
    mpl.pyplot.close(axes.figure)
