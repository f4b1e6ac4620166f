"""The benchmark of drift: its shortcuts are the monitor's own figures, and its tables say what was met."""

from __future__ import annotations

import drift
import numpy as np
import pytest
from drift_world import PLANTED, USUAL, day_of, scores_of

from flowguard.calibration.drift import Records, seal


def test_days_at_once_have_the_statistics_of_the_summaries() -> None:
    random = np.random.default_rng(0)
    scores = scores_of(random, 40, 50, 0.3)
    reference, _ = seal(Records(scores[:30].ravel()), np.repeat(np.arange(30), 50))
    many = drift.statistics_of(reference, scores[30:])
    for own, day in zip(many, scores[30:], strict=True):
        one = reference.summarise(Records(day), batch="").statistics
        assert own == pytest.approx([one["score/level/"], one["score/spread/"]])


def test_the_density_of_usual_days_is_the_one_scores_are_of() -> None:
    # Without effects of the day, ranks are uniform given everything.
    random = np.random.default_rng(1)
    day = day_of(random, drift.Weather(day_effect=0.0), 0.0, records=20_000)
    for name, ranks in day.conditional.items():
        known = ranks[~np.isnan(ranks)]
        assert known.mean() == pytest.approx(0.5, abs=0.02), name
        assert known.var() == pytest.approx(1 / 12, abs=0.005), name


def test_quiet_years_are_checked_against_the_monitor_and_told() -> None:
    steps: list[str] = []
    quiet = drift.quiet_years(3, 0, steps.append)
    assert (quiet.years, quiet.alarmed) == (3, 0)
    assert steps == ["quiet years 0 to 3"]
    table = drift.quiet_table(quiet, (0, 3, 23))
    assert next(iter(table.columns[0].cells)) == "scores only, clustered days"
    assert "met" in list(table.columns[4].cells)


def test_a_planted_fault_is_named_and_a_table_says_how_often() -> None:
    found = drift.trial(np.random.default_rng([0, 0]), "sensor stuck, 10 %")
    assert found.kind == "stuck"
    assert found.days is not None
    assert 1 <= found.days <= drift.HORIZON
    table = drift.planted_table({"sensor stuck, 10 %": [found, drift.Trial(None, None)]})
    assert list(table.columns[5].cells) == ["NOT MET"]
    assert list(table.columns[8].cells) == ["nothing 1"]


def test_what_is_planted_differs_from_the_usual() -> None:
    assert all(weather != USUAL for weather, _ in PLANTED.values())
    assert drift.before("season, no year yet").season == PLANTED["season, no year yet"][0].season
    assert drift.before("one column off") == USUAL
