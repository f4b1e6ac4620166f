from __future__ import annotations

import numpy as np
import pytest

from flowguard.explain.setting import Column, Settings

N, M = 40, 400


def text(values) -> np.ndarray:
    return np.array(values, dtype=object)


def settings(*columns: Column, batch="a", other="a") -> Settings:
    return Settings(text([batch] * N), text([other] * M), columns)


def mixed(name="site", levels=("north", "south", "west", "east")) -> Column:
    return Column(name, text([levels[0]] * N), text([levels[i % len(levels)] for i in range(M)]))


ALL = np.ones(N, dtype=bool)


def words(found) -> list[str]:
    return [one.words for one in found]


def test_what_the_records_have_and_others_have_not_is_named():
    assert words(settings(mixed()).common(ALL)) == ["north"]


def test_what_everybody_has_is_not_named():
    assert settings(Column("site", text(["north"] * N), text(["north"] * M))).common(ALL) == []


def test_what_half_of_the_records_have_is_not_named():
    half = Column("site", text(["north", "south"] * (N // 2)), mixed().elsewhere)
    assert settings(half).common(ALL) == []


def test_two_records_have_nothing_in_common():
    few = ALL.copy()
    few[2:] = False
    assert settings(mixed()).common(few) == []


def test_what_follows_from_a_named_context_is_not_named_again():
    other = [("north", "N1"), ("south", "S1"), ("west", "W1"), ("east", "E1")]
    code = Column("code", text(["N1"] * N), text([other[i % 4][1] for i in range(M)]))
    assert len(settings(mixed(), code).common(ALL)) == 1


def test_two_contexts_that_do_not_follow_from_each_other_are_both_named():
    line = Column("line", text(["L7"] * N), text([f"L{i // 4 % 8}" for i in range(M)]))
    assert sorted(words(settings(mixed(), line).common(ALL))) == ["L7", "north"]


def test_records_are_compared_with_those_of_their_own_batches():
    whole_day = Column("site", text(["north"] * N), text(["north"] * (M // 2) + ["south"] * (M // 2)))
    found = Settings(text(["a"] * N), text(["a"] * (M // 2) + ["b"] * (M // 2)), [whole_day])
    assert found.common(ALL) == []
    assert words(Settings(text(["a"] * N), text(["a", "b"] * (M // 2)), [whole_day]).common(ALL)) == ["north"]


def test_without_others_nothing_is_said():
    assert settings(mixed(), other="b").common(ALL) == []
    assert Settings(text(["a"] * N), text([]), [Column("site", text(["n"] * N), text([]))]).common(ALL) == []


def test_numbers_are_named_by_a_narrow_range():
    rng = np.random.default_rng(0)
    narrow = Column("distance", rng.uniform(700, 760, N), rng.uniform(0, 3000, M))
    (found,) = settings(narrow).common(ALL)
    assert found.words.startswith("distance 7")
    assert found.share >= 0.9
    wide = Column("distance", rng.uniform(0, 3000, N), rng.uniform(0, 3000, M))
    assert settings(wide).common(ALL) == []
    assert settings(Column("distance", np.full(N, np.nan), rng.uniform(0, 3000, M))).common(ALL) == []


def test_hours_around_midnight_are_one_range():
    rng = np.random.default_rng(1)
    night = Column("hour", rng.choice([22.0, 23.0, 0.0, 1.0], N), rng.integers(0, 24, M).astype(float), 24.0)
    (found,) = settings(night).common(ALL)
    assert found.words == "hour 22 to 1"
    assert found.share == 1.0


@pytest.mark.parametrize(("value", "said"), [("true", "is_new true"), ("3", "is_new 3"), ("missing", "is_new missing")])
def test_a_level_that_says_little_by_itself_stands_with_its_column(value, said):
    column = Column("is_new", text([value] * N), text(["x1", "x2", "x3", value] * (M // 4)))
    assert words(settings(column).common(ALL)) == [said]


def test_a_part_with_a_context_of_its_own_stands_apart():
    devices = [f"d{i}" for i in range(20)]
    part = Column("device", text(["d7"] * 20 + devices), text([devices[i % 20] for i in range(M)]))
    found = settings(part).apart(ALL)
    assert found is not None
    assert found.words == "d7"
    assert found.rows.sum() == 21
    assert settings(mixed()).apart(ALL) is None, "all of them have it: nothing is left to stand apart from"
    scattered = Column("device", text(devices * 2), text([devices[i % 20] for i in range(M)]))
    assert settings(scattered).apart(ALL) is None


def test_columns_that_are_wrong_themselves_are_no_context():
    assert settings(mixed()).common(ALL, without=["site"]) == []
    assert settings(mixed()).apart(ALL, without=["site"]) is None
