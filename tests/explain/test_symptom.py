from __future__ import annotations

import pytest

from flowguard.explain import Reason
from flowguard.explain.symptom import REPEATED, Kind, Symptom, symptoms_of
from flowguard.explain.words import MISSING, REDACTED


def reason(column="power", observed=9.0, low=1.0, high=3.0, text=None, share=8.0) -> Reason:
    said = (MISSING if observed is None else f"{observed}") if text is None else text
    return Reason("r", 1, column, share, share, observed, said, low, high, "")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (reason(observed=9.0), Kind.high),
        (reason(observed=0.5), Kind.low),
        (reason(observed=2.0), Kind.odd),
        (reason(observed=9.0, low=None), Kind.high),
        (reason(observed=0.5, high=None), Kind.low),
        (reason(observed=None, low=None, high=None), Kind.missing),
        (reason(observed=None, low=None, high=None, text="fax"), Kind.level),
        (reason(observed=2.5, low=None, high=None), Kind.level),  # off its lattice, or a value with a probability
        (reason(observed=None, low=None, high=None, text=REDACTED), Kind.odd),
    ],
)
def test_a_reason_says_how_its_column_is_wrong(given, kind):
    assert symptoms_of([[given]])[0][0].kind is kind


def test_a_level_is_a_symptom_of_its_own_once_it_has_come_often_enough():
    def levels(n):
        return [[reason(observed=None, low=None, high=None, text="fax")] for _ in range(n)]

    assert {one.text for (one,) in symptoms_of(levels(REPEATED - 1))} == {""}
    assert {one.text for (one,) in symptoms_of(levels(REPEATED))} == {"fax"}
    assert symptoms_of(levels(REPEATED))[0][0].words == "power fax"
    assert symptoms_of(levels(1))[0][0].words == "power with unexpected values"


def test_a_number_that_comes_again_and_again_is_one_symptom_whether_too_high_or_too_low():
    stuck = [[reason(observed=42.0, low=low, high=low + 2)] for low in (10.0, 20.0, 50.0, 60.0, 30.0, 70.0)]
    others = [[reason(observed=100.0 + i)] for i in range(20)]
    found = symptoms_of([*stuck, *others])
    assert {one for (one,) in found[:6]} == {Symptom("power", Kind.value, "42.0")}
    assert {one.kind for (one,) in found[6:]} == {Kind.high}


def test_numbers_of_a_few_values_are_not_stuck():
    few = [[reason(observed=float(5 + i % 3))] for i in range(60)]
    assert {one for (one,) in symptoms_of(few)} == {Symptom("power", Kind.high)}


def test_of_a_redacted_column_no_value_is_told():
    many = [[reason("income", observed=None, low=None, high=None, text="secret")] for _ in range(9)]
    many += [[reason("income", observed=7.0)] for _ in range(9)]
    assert {one for (one,) in symptoms_of(many, redact=["income"])} == {Symptom("income", Kind.odd)}
