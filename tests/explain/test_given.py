from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from flowguard.explain.given import MOST, Given, context_of, settings


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Given("origin", "origin", "category", ["LGA"]), "LGA"),
        (Given("origin", "origin", "category", [None]), "origin missing"),
        (Given("seats", "seats", "category", [2]), "seats 2"),
        (Given("holiday", "holiday", "boolean", [True]), "holiday"),
        (Given("holiday", "holiday", "boolean", [False]), "not holiday"),
        (Given("distance", "distance", "number", [1762.0]), "distance 1,762 km"),
        (Given("distance", "distance", "number", [float("nan")]), ""),
        (Given("weekday", "date", "cyclic", [dt.date(2013, 5, 25)], "week"), "a Saturday"),
        (Given("season", "date", "cyclic", [dt.date(2013, 5, 25)], "year"), "25 May"),
        (Given("hour", "at", "cyclic", [dt.datetime(2013, 5, 25, 17, 5)], "day"), "17:05"),
        (Given("hour", "hour", "cyclic", [17.5], 24.0), "hour 17.5"),
    ],
)
def test_a_context_column_reads_as_people_say_it(given, text):
    assert settings([given], {"distance": "km"}, 1) == [text]


def test_categories_come_first_and_no_more_than_a_handful_are_told():
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in range(6)]
    batch = pa.record_batch(
        {
            "x": rng.normal(size=50),
            "town": pa.array(rng.choice(["a", "b"], 50)),
            **{n: rng.normal(size=50) for n in names},
        }
    )
    context = {**{name: ContextSettings("number") for name in names}, "town": ContextSettings("category")}
    encoder = Encoder.fit({"x": FeatureSettings()}, context, [batch], seed=0)
    raw = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    told = settings(context_of(encoder, raw), {}, 50)
    assert all(text.split(", ")[0] == town for text, town in zip(told, raw["town"], strict=True))
    assert {len(text.split(", ")) for text in told} == {MOST}


def test_a_redacted_context_is_not_told_by_any_of_its_names():
    rng = np.random.default_rng(0)
    batch = pa.record_batch({"x": rng.normal(size=50), "income": rng.normal(size=50)})
    context = {"wealth": ContextSettings("number", column="income")}
    encoder = Encoder.fit({"x": FeatureSettings()}, context, [batch], seed=0)
    raw = {"income": batch.column("income").to_pylist()}
    for name in ("income", "wealth"):
        assert settings(context_of(encoder, raw, [name]), {}, 50) == [""] * 50
