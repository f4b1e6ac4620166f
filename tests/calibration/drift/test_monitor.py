from __future__ import annotations

import json
import math

import numpy as np
import pytest

from flowguard.calibration.drift import BatchSummary, DriftMonitor, DriftRecord, DriftState, Records, Reference, seal
from flowguard.calibration.drift.naming import percent
from flowguard.errors import BundleError


def day_of(random: np.random.Generator, *, shift: float = 0.0, missing: float = 0.02, season: float = 0.0) -> Records:
    """120 flights whose delay follows the temperature; the exact conditional rank and score of each."""
    temperature = season + random.normal(size=120) + 0.3 * random.normal()
    noise = random.normal(size=120) + 0.2 * random.normal() + shift
    delay = np.where(random.random(120) < missing, np.nan, noise - 0.5 * temperature)
    u = np.where(np.isnan(delay), np.nan, np.clip(0.5 + noise / 8, 0, 1))
    return Records(noise**2 / 2, {"delay": delay}, {"temperature": temperature}, {"delay": u})


@pytest.fixture(scope="module")
def started() -> tuple[DriftMonitor, DriftState]:
    random = np.random.default_rng(0)
    days = [day_of(random) for _ in range(80)]
    records = Records(
        np.concatenate([day.score for day in days]),
        {"delay": np.concatenate([day.features["delay"] for day in days])},
        {"temperature": np.concatenate([day.context["temperature"] for day in days])},
        {"delay": np.concatenate([day.conditional["delay"] for day in days])},
    )
    reference, earlier = seal(records, np.repeat([f"2013-{day:03}" for day in range(80)], 120))
    monitor = DriftMonitor(reference, "flights")
    return monitor, monitor.begin(earlier)


def run(monitor: DriftMonitor, state: DriftState, days: list[Records]) -> tuple[DriftState, list[DriftRecord]]:
    records = []
    for day in days:
        name = f"day {len(state.batches)}"
        state, record = monitor.observe(state, monitor.reference.summarise(day, batch=name))
        records.append(record)
    return state, records


@pytest.mark.parametrize(
    ("fault", "kind"),
    [({"shift": 0.6}, "column"), ({"missing": 0.15}, "missing"), ({"season": 1.5}, "context")],
)
def test_what_is_planted_is_found_and_named(
    started: tuple[DriftMonitor, DriftState], fault: dict[str, float], kind: str
) -> None:
    monitor, state = started
    random = np.random.default_rng(1)
    state, quiet = run(monitor, state, [day_of(random) for _ in range(30)])
    assert not any(record.alarms for record in quiet)
    assert all(record.drift is None for record in quiet)
    _, found = run(monitor, state, [day_of(random, **fault) for _ in range(25)])
    alarms = [record for record in found if record.alarms]
    assert alarms
    assert alarms[0].drift is not None
    assert alarms[0].drift.kind == kind
    assert max(alarms[0].log_martingales.values()) >= monitor.threshold == math.log(len(monitor.channels) / 0.01)
    assert alarms[0].odds >= 1


def test_a_fault_is_told_by_all_batches_since_its_onset(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    random = np.random.default_rng(1)
    state, _ = run(monitor, state, [day_of(random) for _ in range(30)])
    shares, record = [], None
    while record is None or not record.alarms:
        state, (record,) = run(monitor, state, [day_of(random, missing=0.15)])
        shares.append(record.missing["delay"])
    assert record.drift is not None
    assert record.drift.kind == "missing"
    assert f"{percent(float(np.mean(shares)))} instead of" in record.drift.sentence
    assert f"{percent(shares[-1])} instead of" not in record.drift.sentence


def test_what_was_missing_and_is_there_again_is_said_so(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    random = np.random.default_rng(1)
    state, first = run(monitor, state, [day_of(random, missing=0.25) for _ in range(60)])
    (broken,) = [record.drift for record in first if "feature/missing/delay" in record.alarms]
    _, second = run(monitor, state, [day_of(random) for _ in range(60)])
    mended = [record.drift for record in second if "feature/missing/delay" in record.alarms]
    assert broken is not None
    assert broken.sentence.startswith("delay is missing more often than before: 2")
    assert broken.sentence.endswith(" instead of 1.9 %")
    assert mended[0] is not None
    assert mended[0].kind == "missing"
    assert mended[0].sentence == "delay is missing less often than before: 2.1 % instead of 24 %"


def test_the_record_has_the_plain_shares(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    _, (record,) = run(monitor, state, [day_of(np.random.default_rng(2), missing=0.5)])
    assert record.records == 120
    assert record.missing["delay"] == pytest.approx(0.5, abs=0.15)
    assert sum(record.score_shares) == pytest.approx(1.0)
    assert DriftRecord.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record


def test_replay_and_a_stop_in_between_give_the_same_bits(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, first = started
    random = np.random.default_rng(3)
    days = [day_of(random, shift=1.0 * (place > 10)) for place in range(30)]
    straight, records = run(monitor, first, days)
    assert any(record.alarms for record in records)
    again = DriftMonitor(Reference.from_json(json.loads(json.dumps(monitor.reference.to_json()))), "flights")
    state, replayed = first, []
    for day in days:
        state = DriftState.from_json(json.loads(json.dumps(state.to_json(), allow_nan=False)))
        state, (record,) = run(again, state, [day])
        replayed.append(record)
    assert replayed == records
    assert state.to_json() == straight.to_json()
    with pytest.raises(BundleError, match="layout"):
        DriftState.from_json({**state.to_json(), "version": 0})


def test_observing_changes_nothing_that_was_given(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    before = json.dumps(state.to_json())
    run(monitor, state, [day_of(np.random.default_rng(4), shift=2.0) for _ in range(15)])
    assert json.dumps(state.to_json()) == before


def test_an_empty_batch_adds_nothing(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    after, record = monitor.observe(state, BatchSummary("empty", 0, {}, {}, {}))
    assert after is state
    assert (record.records, record.alarms, record.p_value, record.flagged) == (0, (), 1.0, False)


def test_a_batch_is_not_ranked_among_itself(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    summary = monitor.reference.summarise(day_of(np.random.default_rng(5)), batch="2013-05-01")
    state, _ = monitor.observe(state, summary)
    with pytest.raises(ValueError, match="2013-05-01"):
        monitor.observe(state, summary)


def test_a_channel_that_alarmed_restarts_with_nothing_to_rank_among(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    random = np.random.default_rng(6)
    record = None
    while record is None or "score/level/" not in record.alarms:
        state, (record,) = run(monitor, state, [day_of(random, shift=1.5)])
    place = [channel.key for channel in monitor.channels].index("score/level/")
    assert state.capital.log[place] == 0.0
    assert np.isnan(state.statistics[:, place]).all()
    assert state.alarmed[place] == len(state.batches) - 1
    # The new level is what it is compared with now: no alarm again.
    _, later = run(monitor, state, [day_of(random, shift=1.5) for _ in range(60)])
    assert not any("score/level/" in record.alarms for record in later)


def test_a_block_is_odd_though_no_record_is(started: tuple[DriftMonitor, DriftState]) -> None:
    monitor, state = started
    random = np.random.default_rng(7)
    state, records = run(monitor, state, [day_of(random) for _ in range(60)])
    assert not any(record.flagged for record in records)
    odd = day_of(random)
    odd = Records(np.full(120, 0.25), odd.features, odd.context, odd.conditional)
    _, (record,) = run(monitor, state, [odd])
    assert record.flagged
    assert record.extrapolated
    assert record.sentence == "the scores of this batch differ less among themselves than those of earlier ones"
    high = Records(odd.score + np.linspace(1.5, 2.5, 120), odd.features, odd.context, odd.conditional)
    _, (record,) = run(monitor, state, [high])
    assert record.flagged


def test_years_of_quiet_scores_alarm_no_more_than_was_asked_for() -> None:
    # One martingale against 20 for 60 years: P(any alarm) <= 0.05 by Ville, through the monitor as it is.
    random = np.random.default_rng(8)
    alarmed = 0
    for year in range(60):
        scores = 0.4 * random.normal(size=(90, 1)) + random.standard_exponential((90, 30))
        reference, earlier = seal(Records(scores[:30].ravel()), np.repeat(np.arange(30), 30))
        monitor = DriftMonitor(reference, f"year {year}", chance=0.05)
        _, records = run(monitor, monitor.begin(earlier), [Records(day) for day in scores[30:]])
        alarmed += any(record.alarms for record in records)
    assert alarmed / 60 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)


def test_levels_outside_zero_and_one_are_refused(started: tuple[DriftMonitor, DriftState]) -> None:
    reference = started[0].reference
    with pytest.raises(ValueError, match="batch_rate"):
        DriftMonitor(reference, "flights", batch_rate=0.0)
    with pytest.raises(ValueError, match="chance"):
        DriftMonitor(reference, "flights", chance=1.5)
