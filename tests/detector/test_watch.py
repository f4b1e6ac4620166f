"""What drift looks at: a sample by place alone, without redacted columns, dates and records that were refused."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from flowguard.calibration import FalseAlarmRate, Parts
from flowguard.detector import Watch, Watched, calibrate, hold, watch
from flowguard.detector.groups import group_counts, group_values
from flowguard.encoding import ContextSettings, Encoder, FeatureSettings
from tests.detector.sample import fitted, table

COLUMNS = {"power": "double", "kind": "string", "zone": "int64", "when": "date32[day]", "secret": "string"}


def batch(n: int, seed: int = 0) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    return pa.RecordBatch.from_pydict(
        {
            "power": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.2),
            "kind": pa.array(rng.choice(["a", "b"], n), mask=rng.random(n) < 0.1),
            "zone": rng.integers(0, 3, n),
            "when": [dt.date(2026, 1, 1)] * n,
            "secret": ["x"] * n,
        }
    )


def encoder() -> Encoder:
    features = {"power": FeatureSettings("number"), "kind": FeatureSettings("category")}
    context = {"zone": ContextSettings("category"), "secret": ContextSettings("category")}
    return Encoder.fit(features, context, [batch(500)], seed=0)


def parts(n: int, terms: bool = True) -> Parts:
    made = np.random.default_rng(3).normal(size=(n, 2)) if terms else None
    return Parts(np.zeros(n), np.zeros(n), np.full(n, "12"), None if made is None else -np.abs(made), made)


def test_columns_are_numbers_or_levels_and_what_must_not_show_is_left_out() -> None:
    seen = Watch(encoder(), COLUMNS, ("secret",))
    usable = np.arange(50) != 7
    seen.add(batch(50), parts(49), usable)
    records = seen.records(np.arange(49.0), np.full(49, "all"))
    assert set(records.features) == {"power", "kind"}
    assert set(records.context) == {"zone"}, "neither the redacted column nor the date"
    assert records.features["power"].dtype == np.float64
    assert np.isnan(records.features["power"]).any()
    assert set(records.context["zone"].tolist()) <= {"0", "1", "2"}
    assert None in records.features["kind"].tolist()
    assert set(records.conditional) == {"power"}
    assert len(records) == 49
    assert seen.places.tolist() == list(range(49))


def test_without_terms_by_column_there_is_nothing_conditional() -> None:
    seen = Watch(encoder(), COLUMNS)
    seen.add(batch(20), parts(20, terms=False), np.ones(20, bool))
    assert seen.records(np.zeros(20), None).conditional == {}


def test_a_sample_depends_on_places_alone_however_the_batch_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST", 100)
    whole = batch(1000)
    found = []
    for cut in (1000, 333, 50):
        seen = Watch(encoder(), COLUMNS)
        for start in range(0, 1000, cut):
            part = whole.slice(start, cut)
            seen.add(part, parts(len(part), terms=False), np.ones(len(part), bool))
        assert len(seen.places) <= 100
        found.append((seen.places.tolist(), seen.records(np.arange(1000.0), None).features["power"].tolist()))
    assert str(found[0]) == str(found[1]) == str(found[2])


def test_no_record_is_no_column() -> None:
    assert len(Watch(encoder(), COLUMNS).records(np.zeros(0), None)) == 0


def test_what_is_sealed_compares_to_the_same_bits() -> None:
    detector = fitted(table(300, 1), epochs=1)
    held = hold(detector, [(table(900, 2), np.arange(900) // 30)], watched=True)
    made = calibrate(detector, held, policy=FalseAlarmRate(0.1), by_day=True)
    assert made.watched is not None
    assert len(made.watched.earlier) > 5
    again = Watched.from_dict(json.loads(json.dumps(made.watched.to_dict())))
    seen = Watch(detector.encoder, detector.columns)
    fresh = table(200, 3)
    evaluation = made.evaluate(made.encode(fresh))
    seen.add(fresh, evaluation.parts(), np.ones(200, bool))
    assert made.calibration is not None
    records = seen.records(made.calibration.score(evaluation.parts()), None)
    first, second = (one.reference.summarise(records, batch="x") for one in (made.watched, again))
    assert first == second


def test_groups_are_text_and_missing_values_one_of_them() -> None:
    made = encoder()
    given = batch(400)
    kind, zone, pattern = group_values(["kind", "zone", "pattern"], given, made.encode(given))
    assert set(kind.tolist()) == {"a", "b", "(missing)"}
    assert set(zone.tolist()) == {"0", "1", "2"}
    assert all(len(one) == 2 for one in pattern.tolist())
    counts = group_counts(["kind"], [given, given], made)
    assert sum(counts.values()) == 800
    assert counts[("a",)] == 2 * int((kind == "a").sum())
    assert group_counts([], [given], made) == {}
