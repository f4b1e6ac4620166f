from __future__ import annotations

import math
from dataclasses import replace

import pytest

from flowguard.calibration.drift import Channel, Moved, name_drift


def moved(key: str, effect: float = 10.0, *, alarm: bool = True, observed: float = 0.12, usual: float = 0.02,
          detail: str = "") -> Moved:  # fmt: skip
    return Moved(Channel.from_key(key), alarm, effect, 9.0, observed, usual, detail)


def test_what_is_missing_is_said_in_plain_words() -> None:
    drift = name_drift([moved("feature/missing/dep_delay"), moved("score/level/", 6)])
    assert (drift.kind, drift.columns) == ("missing", ("dep_delay",))
    assert drift.sentence == "dep_delay is missing more often than before: 12 % instead of 2 %"
    less = name_drift([moved("feature/missing/dep_delay", -10, observed=0.0), moved("score/level/", 6)])
    assert less.sentence == "dep_delay is missing less often than before: 0 % instead of 2 %"


def test_more_winter_flights_are_context_and_no_broken_model() -> None:
    context = moved("context/mix/season", observed=0.6, usual=0.25, detail="winter")
    drift = name_drift([context, moved("feature/level/delay", 8)])
    assert drift.kind == "context"
    assert drift.sentence == (
        "other contexts than before: season is 'winter' in 60 % of the records instead of 25 %; "
        "given their context the records are as before"
    )
    assert name_drift([context], slowly=True).kind == "season"
    assert name_drift([moved("group/mix/", detail="a")]).sentence.startswith(
        "other contexts than before: the groups is"
    )


def test_conditional_drift_is_not_explained_away_by_the_context() -> None:
    context = moved("context/level/temperature", -20, observed=3.0, usual=11.0)
    drift = name_drift([context, moved("conditional/level/delay", 9)], slowly=True)
    assert (drift.kind, drift.columns) == ("conditional", ("delay",))
    assert "which does not explain it: temperature is lower than before: median 3 instead of 11" in drift.sentence
    # What only follows a little is not what happened.
    assert name_drift([context, moved("score/level/", 3, alarm=False)]).kind == "context"


def test_one_column_by_itself() -> None:
    drift = name_drift(
        [
            moved("feature/level/delay", -6, observed=1.0, usual=3.5),
            moved("conditional/level/fuel", 9),
            moved("score/level/"),
        ]
    )
    assert (drift.kind, drift.columns) == ("column", ("delay",))
    assert drift.sentence == "delay is lower than before: median 1 instead of 3.5, in the same contexts"


def test_a_broken_relation_is_conditional_and_a_score_alone_is_a_score() -> None:
    assert name_drift([moved("score/spread/"), moved("conditional/spread/fuel")]).columns == ("fuel",)
    assert name_drift([moved("score/spread/"), moved("conditional/spread/fuel")]).kind == "conditional"
    drift = name_drift([moved("score/level/", observed=0.3, usual=0.1)])
    assert drift.kind == "score"
    assert drift.sentence == (
        "records are stranger than before: 30 % of them lie in what was the strangest 10 %; no column says why"
    )


def test_a_fault_says_more_than_what_follows_from_it() -> None:
    others = [moved("score/level/", 12), moved("feature/level/wind", 9), moved("context/mix/route", 9)]
    stuck = name_drift([*others, moved("feature/repeats/wind", 30, observed=0.6, usual=0.0, detail="21.3")])
    assert stuck.kind == "stuck"
    assert stuck.sentence == "wind stands still: 60 % of the records have the value 21.3, which did not repeat before"
    unseen = name_drift([*others, moved("context/unseen/route", 25, observed=0.08, usual=0.0, detail="ZZ")])
    assert unseen.sentence == "route has levels never seen at calibration in 8 % of the records, most often 'ZZ'"
    assert name_drift([others[2], moved("context/missing/route", 2, alarm=False)]).kind == "context"


@pytest.mark.parametrize(
    ("key", "observed", "usual"),
    [
        ("context/missing/precip", 0.0, 0.00004),
        ("context/missing/late_before", 0.026, 0.013),
        ("context/missing/late_before", 0.12, 0.09),
        ("context/unseen/dest", 0.001, 0.0),
        ("context/repeats/minutes", 0.031, 0.0086),
    ],
)
def test_a_share_that_hardly_differs_is_no_fault_and_names_only_what_nothing_else_does(
    key: str, observed: float, usual: float
) -> None:
    little = moved(key, 30, observed=observed, usual=usual, detail="175")
    context = moved("context/mix/route", 8, observed=0.6, usual=0.25, detail="north")
    assert name_drift([little, context]).kind == "context"
    assert name_drift([little, context], slowly=True).kind == "season"
    assert name_drift([little, context, moved("conditional/level/delay")]).kind == "conditional"
    assert name_drift([little, moved("feature/level/delay")]).kind == "column"
    score = name_drift([little, moved("score/level/", observed=0.3, usual=0.1)])
    assert score.kind == "score"
    assert "no column says why" not in score.sentence
    alone = name_drift([little])
    assert (alone.kind, alone.columns) == ("column", (little.channel.column,))
    assert alone.sentence in score.sentence


def test_small_shares_are_said_as_they_are() -> None:
    def said(key: str, observed: float, usual: float) -> str:
        return name_drift([moved(key, observed=observed, usual=usual, detail="ACK")]).sentence

    assert said("context/missing/precip", 0.0, 0.00004) == (
        "precip is missing a little less often than before: 0 % instead of under 0.01 %"
    )
    assert said("context/missing/late", 0.026, 0.013) == (
        "late is missing a little more often than before: 2.6 % instead of 1.3 %"
    )
    assert said("context/missing/late", 0.013, 0.01299) == (
        "late is missing in other batches than before, in all as often"
    )
    assert said("context/unseen/dest", 0.001, 0.0) == (
        "dest has levels never seen at calibration in 0.1 % of the records, most often 'ACK'"
    )
    assert said("context/repeats/minutes", 0.03, 0.01) == (
        "minutes repeats other values than before: 3 % of the records have the value ACK, 1 % before"
    )


def test_a_share_that_alarms_now_is_said_rather_than_one_that_did() -> None:
    before = replace(moved("context/unseen/dest", 40, observed=0.001, usual=0.0), recent=True)
    assert name_drift([before, moved("context/repeats/minutes", 9, observed=0.03)]).columns == ("minutes",)


def test_a_share_that_differs_by_chance_is_no_fault() -> None:
    late = moved("context/missing/late", 12, observed=0.06, usual=0.01)
    assert late.changed == 1
    assert replace(late, above=2.0).changed == 0
    assert replace(late, above=-4.0).changed == 0
    assert replace(late, observed=math.nan).changed == 0
    assert replace(moved("feature/level/late"), observed=9.0).changed == 0
    assert moved("context/missing/late", -12, observed=0.01, usual=0.06).changed == -1


def test_a_figure_that_says_the_opposite_is_left_out() -> None:
    assert name_drift([moved("feature/level/delay", 9, observed=-3.0, usual=-2.0)]).sentence == (
        "delay is higher than before, in the same contexts"
    )
    assert name_drift([moved("score/level/", 9, observed=0.08, usual=0.1)]).sentence == (
        "records are stranger than before; no column says why"
    )


def test_nothing_has_no_name() -> None:
    with pytest.raises(ValueError, match="nothing moved"):
        name_drift([])


@pytest.mark.parametrize("key", ["score", "there/level/x", "score/colour/"])
def test_what_is_no_channel_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        Channel.from_key(key)


def test_a_column_may_have_a_slash() -> None:
    assert Channel.from_key("feature/level/a/b").column == "a/b"
