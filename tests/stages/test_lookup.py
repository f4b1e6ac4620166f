"""Looking records up: what a KEY may look like, and that values are read as the columns hold them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import FlowguardError, InputError
from flowguard.stages.lookup import Asked, find, find_near
from flowguard.stages.manifest import Manifest
from flowguard.stages.workspace import Workspace

RECORD = "00112233445566778899aabbccddeeff"


@pytest.mark.parametrize(
    ("text", "key", "record_id", "columns"),
    [
        (RECORD, ["a", "b"], RECORD, {}),
        (RECORD.upper(), [], RECORD, {}),
        ("a=1,b=x", ["a", "b"], None, {"a": "1", "b": "x"}),
        (" b = x , a = 1 ", ["a", "b"], None, {"b": "x", "a": "1"}),
        ("a=1", ["a", "b"], None, {"a": "1"}),
        ("a=x, y = z,b=2", ["a", "b"], None, {"a": "x, y = z", "b": "2"}),
        ("a=", ["a", "b"], None, {"a": ""}),
        ("1499", ["order"], None, {"order": "1499"}),
        ("=1+1", ["label"], None, {"label": "=1+1"}),
        (RECORD, ["hash"], RECORD, {"hash": RECORD}),
        ("long name=2", ["name", "long name"], None, {"long name": "2"}),
    ],
)
def test_a_key_is_a_record_id_or_columns(
    text: str, key: list[str], record_id: str | None, columns: dict[str, str]
) -> None:
    asked = Asked.parse(text, key)
    assert (asked.record_id, dict(asked.columns)) == (record_id, columns)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("carier=DL", ["carrier", "flight"], "did you mean carrier"),
        ("odrer=3", ["order"], "did you mean order"),
        ("DL", ["carrier", "flight"], "carrier=...,flight=..."),
        ("a=1,a=2", ["a", "b"], "twice"),
        ("a=1", [], "names no key columns"),
        ("", ["a"], "expected a=..."),
    ],
)
def test_what_is_neither_is_refused_with_what_is_expected(text: str, key: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        Asked.parse(text, key)


def test_values_of_redacted_columns_are_not_repeated() -> None:
    asked = Asked.parse("a=1,holder=secret", ["a", "holder"])
    assert asked.shown(["holder"]) == "a=1, holder=redacted"


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Workspace, Manifest]:
    """A batch whose key has a column of every kind."""
    zone = dt.timezone(dt.timedelta(hours=2))
    table = pa.table(
        {
            "record_id": [f"{row:032x}" for row in range(4)],
            "whole": [1, 2, 3, None],
            "part": [0.5, 2.0, 3.25, 4.0],
            "text": ["x", "a, b = c", "", None],
            "yes": [True, False, True, None],
            "day": pa.array([dt.date(2013, 5, day) for day in (1, 2, 3, 4)]),
            "at": pa.array([dt.datetime(2013, 5, 1, hour) for hour in (1, 2, 3, 4)], pa.timestamp("us")),
            "local": pa.array(
                [dt.datetime(2013, 5, 1, hour, tzinfo=zone) for hour in (1, 2, 3, 4)],
                pa.timestamp("ms", "Europe/Berlin"),
            ),
        }
    )
    pq.write_table(table, tmp_path / "scores.parquet", row_group_size=2)
    workspace = SimpleNamespace(folder=tmp_path, pipeline=SimpleNamespace(path="x.yaml"))
    manifest = SimpleNamespace(batch="b", files={"scores": "scores.parquet"})
    return cast(Workspace, workspace), cast(Manifest, manifest)


def rows(stored: tuple[Workspace, Manifest], columns: dict[str, str], most: int = 9) -> list[int]:
    found, total = find(stored[0], Asked(None, columns), stored[1], most=most)
    assert total >= len(found)
    return [int(one.record_id, 16) for one in found]


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("whole", "2", [1]),
        ("whole", "", [3]),
        ("part", "2", [1]),
        ("part", "3.25", [2]),
        ("text", "a, b = c", [1]),
        ("text", "", [2, 3]),
        ("yes", "true", [0, 2]),
        ("day", "2013-05-03", [2]),
        ("at", "2013-05-01 02:00:00", [1]),
        ("at", "2013-05-01T02:00", [1]),
        ("local", "2013-05-01 02:00:00", [1]),
        ("local", "2013-05-01T00:00:00Z", [1]),
        ("whole", "77", []),
        ("nowhere", "1", []),
    ],
)
def test_values_are_read_as_the_column_holds_them(
    stored: tuple[Workspace, Manifest], column: str, text: str, expected: list[int]
) -> None:
    assert rows(stored, {column: text}) == expected


@pytest.mark.parametrize(("column", "text"), [("whole", "1,5"), ("part", "x"), ("day", "May"), ("yes", "perhaps")])
def test_a_value_that_the_column_cannot_hold_is_refused_and_not_repeated(
    stored: tuple[Workspace, Manifest], column: str, text: str
) -> None:
    with pytest.raises(InputError, match=f"key column {column} holds") as caught:
        rows(stored, {column: text})
    assert text not in str(caught.value).replace("May", "may") or len(text) < 4


def test_of_many_matches_a_few_are_read_and_all_are_counted(stored: tuple[Workspace, Manifest]) -> None:
    assert rows(stored, {"yes": "true"}, most=1) == [0]
    assert find(stored[0], Asked(None, {"yes": "true"}), stored[1], most=1)[1] == 2
    assert find(stored[0], Asked(None, {"yes": "true"}), stored[1], most=0) == ([], 2)


def test_what_comes_near_agrees_in_all_columns_but_one(stored: tuple[Workspace, Manifest]) -> None:
    near = find_near(stored[0], Asked(None, {"whole": "2", "part": "9.0", "yes": "false"}), [stored[1]], most=3)
    assert [int(one.record_id, 16) for one in near] == [1]
    assert find_near(stored[0], Asked(None, {"whole": "9"}), [stored[1]], most=3) == []


def test_a_file_that_a_manifest_names_and_that_is_gone_is_told(stored: tuple[Workspace, Manifest]) -> None:
    (stored[0].folder / "scores.parquet").unlink()
    with pytest.raises(FlowguardError, match="is gone"):
        rows(stored, {"whole": "1"})


def test_only_columns_that_are_asked_for_are_read_where_nothing_matches(
    stored: tuple[Workspace, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    real = pq.read_table

    def reading(path: object, **options: Any) -> pa.Table:
        read.append(options.get("columns"))
        return real(path, **options)

    monkeypatch.setattr(pq, "read_table", reading)
    assert rows(stored, {"whole": "77"}) == []
    assert read == [["record_id"]]
