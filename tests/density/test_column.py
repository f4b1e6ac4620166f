"""What a feature can be."""

from __future__ import annotations

import pytest

from flowguard.density import Column


def test_codes_that_never_occurred_are_improbable_by_laplaces_estimate() -> None:
    assert Column("number", (98, 0, 0)).never() == [0.0, 0.01, 0.01]
    assert Column("integer", (50, 48, 0)).never() == [0.0, 0.0, 0.01]


def test_a_level_never_seen_has_the_probability_that_the_encoder_found() -> None:
    assert Column("category", (0, 3, 60, 35), novel=0.2).never() == [0.2, 0.0, 0.0, 0.0]
    assert Column("category", (0, 0, 98), novel=0.0).never() == [0.01, 0.01, 0.0]


def test_all_that_never_occurred_takes_half_of_the_probability_at_most() -> None:
    never = Column("category", (0, 0, *[1] * 20), novel=21 / 22).never()
    assert sum(never) == pytest.approx(0.5)
    assert never[0] > never[1] > 0


def test_a_level_beyond_those_told_apart_is_learned_like_any_other() -> None:
    column = Column("category", (7, 0, 60, 31), novel=0.2)
    assert column.live == (0, 2, 3)
    assert column.never()[0] == 0


def test_being_missing_alone_is_rare() -> None:
    assert Column("number", (90, 8)).rare
    assert not Column("number", (90, 8, 2)).rare
    assert not Column("category", (0, 8, 92)).rare


def test_plain_json_and_back() -> None:
    column = Column("category", (0, 3, 60), novel=0.25)
    assert Column.from_dict(column.to_dict()) == column


@pytest.mark.parametrize(
    ("kind", "counts", "novel", "message"),
    [
        ("word", (1, 0), 0.0, "unknown kind 'word'; known: number, integer, category"),
        ("number", (1,), 0.0, "at least 2 counts"),
        ("integer", (1, 0), 0.0, "at least 3 counts"),
        ("number", (0, 0), 0.0, "some above 0"),
        ("number", (3, -1), 0.0, "some above 0"),
        ("category", (0, 0, 3), 1.5, "novel is a probability"),
    ],
)
def test_what_is_no_column_is_refused(kind: str, counts: tuple[int, ...], novel: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Column(kind, counts, novel)  # type: ignore[arg-type]
