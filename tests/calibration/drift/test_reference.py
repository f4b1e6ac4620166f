from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flowguard.calibration.drift import BatchSummary, Records, Reference, seal
from flowguard.calibration.halves import reference_half
from flowguard.errors import BundleError

ROUTES = np.array(["north", "south", "east"], dtype=object)


def records_of(random: np.random.Generator, n: int) -> Records:
    route = random.choice(3, size=n, p=[0.6, 0.3, 0.1])
    delay = random.normal(route, 1.0)
    delay[random.random(n) < 0.05] = np.nan
    noise = random.normal(size=n)
    return Records(
        score=noise**2 + 2.0 * route,
        features={"delay": delay, "seats": random.choice([50, 100, 150], size=n)},
        context={"route": ROUTES[route], "date": np.datetime64("2013-01-01") + random.integers(0, 30, n)},
        conditional={"delay": random.uniform(size=n)},
        group=np.where(route == 0, "a", "b"),
    )


@pytest.fixture(scope="module")
def reference() -> Reference:
    random = np.random.default_rng(0)
    return Reference.fit(records_of(random, 6000), np.repeat(np.arange(60), 100))


def test_every_channel_has_a_statistic_near_its_usual(reference: Reference) -> None:
    random = np.random.default_rng(1)
    many = [reference.summarise(records_of(random, 400), batch=str(i)).statistics for i in range(200)]
    assert {channel.key for channel in reference.channels} == set(many[0])
    for key in many[0]:
        values = np.array([one[key] for one in many])
        if "/level/" in key or "/spread/" in key:
            assert abs(values.mean()) < 0.6, key
            assert 0.5 < values.std() < 2, key


def test_summaries_and_references_survive_json(reference: Reference) -> None:
    batch = records_of(np.random.default_rng(2), 300)
    again = Reference.from_json(json.loads(json.dumps(reference.to_json(), sort_keys=True)))
    assert again.channels == reference.channels
    summary = reference.summarise(batch, batch="b", day=3.0)
    assert again.summarise(batch, batch="b", day=3.0) == summary
    assert BatchSummary.from_json(json.loads(json.dumps(summary.to_json(), allow_nan=False))) == summary
    with pytest.raises(BundleError, match="layout"):
        Reference.from_json({**reference.to_json(), "version": 99})


def test_an_empty_batch_has_nothing_to_say(reference: Reference) -> None:
    summary = reference.summarise(records_of(np.random.default_rng(3), 0), batch="empty")
    assert (summary.records, dict(summary.statistics)) == (0, {})


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_records_have_finite_statistics(reference: Reference, n: int) -> None:
    summary = reference.summarise(records_of(np.random.default_rng(4), n), batch="few")
    assert all(math.isfinite(value) for value in summary.statistics.values())
    assert ("score/spread/" in summary.statistics) == (n > 1)


def test_a_million_records_take_seconds_and_nothing_more(reference: Reference) -> None:
    batch = records_of(np.random.default_rng(5), 1_000_000)
    started = time.perf_counter()
    summary = reference.summarise(batch, batch="many")
    assert time.perf_counter() - started < 20
    assert all(math.isfinite(value) for value in summary.statistics.values())
    assert len(json.dumps(summary.to_json())) < 10_000


def test_a_column_that_is_all_missing_is_missing_and_has_no_level(reference: Reference) -> None:
    batch = records_of(np.random.default_rng(6), 100)
    gone = Records(batch.score, {**batch.features, "delay": np.full(100, np.nan)}, batch.context,
                   {"delay": np.full(100, np.nan)}, batch.group)  # fmt: skip
    summary = reference.summarise(gone, batch="gone")
    assert summary.figures["feature/missing/delay"] == 1.0
    assert summary.statistics["feature/missing/delay"] > 10
    assert "feature/level/delay" not in summary.statistics
    assert "conditional/level/delay" not in summary.statistics


def test_shares_by_hand() -> None:
    calibration = Records(np.zeros(8), {"x": np.array(list("aaaabbbb"), dtype=object)})
    reference = Reference.fit(calibration, np.zeros(8))
    batch = Records(np.zeros(5), {"x": np.array(["a", "c", None, float("nan"), "c"], dtype=object)})
    summary = reference.summarise(batch, batch="b")
    assert summary.figures["feature/missing/x"] == pytest.approx(0.4)
    assert summary.figures["feature/unseen/x"] == pytest.approx(2 / 3)
    assert summary.details["feature/unseen/x"] == "c"


def test_the_mix_by_hand() -> None:
    calibration = Records(np.zeros(100), {"x": np.array(["a"] * 50 + ["b"] * 50)})
    reference = Reference.fit(calibration, np.zeros(100))
    summary = reference.summarise(Records(np.zeros(10), {"x": np.array(["a"] * 10)}), batch="b")
    p = np.array([50, 50, 0.5]) / 100.5
    apart = (((np.array([1, 0, 0]) - p) ** 2) / p).sum()
    # One unit of calibration: its distance less (3 - 1) / 100 is below 0, so there is no variance between units.
    assert summary.statistics["feature/mix/x"] == pytest.approx(math.sqrt(apart / (2 / 10)))


def test_a_mix_of_any_size_is_on_one_scale() -> None:
    random = np.random.default_rng(7)
    draw = lambda n: Records(np.zeros(n), {"x": random.choice(list("abcd"), size=n)})  # noqa: E731
    reference = Reference.fit(draw(50_000), np.zeros(50_000))
    usual = [
        np.mean([reference.summarise(draw(n), batch="").statistics["feature/mix/x"] ** 2 for _ in range(300)])
        for n in (20, 2000)
    ]
    assert usual[0] == pytest.approx(usual[1], rel=0.25)


def test_nothing_missing_is_no_news_however_many_records() -> None:
    random = np.random.default_rng(8)
    draw = lambda n: Records(np.zeros(n), {"x": random.normal(size=n)})  # noqa: E731
    reference = Reference.fit(draw(5000), np.repeat(np.arange(50), 100))
    for n in (1, 100, 10_000):
        assert reference.summarise(draw(n), batch="").statistics["feature/missing/x"] == 0.0


def test_one_wild_value_is_one_record(reference: Reference) -> None:
    batch = records_of(np.random.default_rng(9), 200)
    level = {}
    for wild in (1e3, 1e300, np.inf):
        delay = batch.features["delay"].copy()
        delay[0] = wild
        features = {**batch.features, "delay": delay}
        changed = Records(batch.score, features, batch.context, batch.conditional, batch.group)
        level[wild] = reference.summarise(changed, batch="").statistics["feature/level/delay"]
    assert len(set(level.values())) == 1


def test_a_sensor_that_stands_still_repeats_beyond_its_usual_atoms() -> None:
    random = np.random.default_rng(10)

    def draw(n: int) -> np.ndarray:
        return np.where(random.random(n) < 0.5, 0.0, random.normal(size=n))

    reference = Reference.fit(Records(np.zeros(5000), {"x": draw(5000)}), np.repeat(np.arange(50), 100))
    usual = [reference.summarise(Records(np.zeros(200), {"x": draw(200)}), batch="") for _ in range(50)]
    stuck = draw(200)
    stuck[:20] = 1.25
    summary = reference.summarise(Records(np.zeros(200), {"x": stuck}), batch="")
    assert summary.statistics["feature/repeats/x"] > 2 * max(one.statistics["feature/repeats/x"] for one in usual)
    assert summary.details["feature/repeats/x"] == "1.25"
    assert summary.figures["feature/repeats/x"] == pytest.approx(0.1)


def test_one_value_a_unit_is_no_repetition_and_one_level_a_unit_no_mix() -> None:
    day = np.repeat(np.arange(30), 50)
    temperature = np.random.default_rng(11).normal(size=30)[day]
    month = np.array(["may", "june", "july"], dtype=object)[day // 10]
    reference = Reference.fit(Records(np.zeros(1500), {}, {"temperature": temperature, "month": month}), day)
    keys = [channel.key for channel in reference.channels if channel.part == "context"]
    assert keys == [
        "context/missing/month",
        "context/unseen/month",
        "context/level/temperature",
        "context/missing/temperature",
    ]


def test_the_mix_of_contexts_explains_scores_that_follow_it(reference: Reference) -> None:
    # `south` and `east` have higher scores at calibration too: more of them is no news about the density.
    random = np.random.default_rng(12)
    values = []
    for _ in range(100):
        batch = records_of(random, 400)
        other = batch.take(random.random(400) < np.where(batch.context["route"] == "north", 0.3, 1.0))
        values.append(reference.summarise(other, batch="").statistics)
    assert abs(np.mean([one["score/level/"] for one in values])) < 0.7
    assert np.mean([one["group/mix/"] for one in values]) > 5


def test_what_is_sealed_and_what_is_ranked_among_are_the_halves_of_the_calibration() -> None:
    random = np.random.default_rng(13)
    units = np.repeat([f"day {day:02}" for day in range(20)], 30)
    records = Records(random.normal(size=600))
    reference, earlier = seal(records, units, days={f"day {day:02}": float(day) for day in range(20)})
    later = reference_half(units)
    assert [one.batch for one in earlier] == sorted(set(units[later].tolist()))
    assert [one.day for one in earlier] == [float(one.batch[4:]) for one in earlier]
    assert reference.to_json() == Reference.fit(records.take(~later), units[~later]).to_json()


def test_too_few_units_are_all_sealed() -> None:
    reference, earlier = seal(Records(np.arange(70.0)), np.repeat(np.arange(7), 10))
    assert earlier == ()
    assert reference.to_json() == Reference.fit(Records(np.arange(70.0)), np.repeat(np.arange(7), 10)).to_json()


def test_faults_of_the_caller_are_named(reference: Reference) -> None:
    batch = records_of(np.random.default_rng(14), 10)
    with pytest.raises(ValueError, match="feature column 'delay'"):
        reference.summarise(Records(batch.score, {}, batch.context, batch.conditional, batch.group), batch="b")
    with pytest.raises(ValueError, match="has none"):
        reference.summarise(Records(batch.score, batch.features, batch.context, batch.conditional), batch="b")
    words = {**batch.features, "delay": np.array(["late"] * 10)}
    with pytest.raises(ValueError, match="'delay' was sealed as numbers"):
        reference.summarise(Records(batch.score, words, batch.context, batch.conditional, batch.group), batch="b")
    with pytest.raises(ValueError, match="NaN"):
        Records(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="features column 'x'"):
        Records(np.zeros(2), {"x": np.zeros(3)})
    with pytest.raises(ValueError, match="units"):
        seal(Records(np.zeros(2)), [1])
    with pytest.raises(ValueError, match="no calibration record"):
        Reference.fit(Records(np.zeros(0)), [])


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=True, allow_infinity=True)))
@settings(max_examples=80, deadline=None)
def test_any_numbers_are_sealed_and_summarised(values: np.ndarray) -> None:
    units = np.arange(len(values)) // 5
    score = np.where(np.isnan(values), np.inf, values)
    records = Records(score, {"x": values}, {"c": values}, {"x": values}, units)
    reference = Reference.fit(records, units)
    summary = reference.summarise(records, batch="b")
    json.dumps([reference.to_json(), summary.to_json()], allow_nan=False)
    assert sum(summary.score_shares) == pytest.approx(1.0)
    assert all(math.isfinite(value) for value in summary.statistics.values())
