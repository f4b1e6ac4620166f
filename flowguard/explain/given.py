"""The context of a record in a few words: what the columns say that it is conditioned on."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowguard.explain import words as say
from flowguard.explain.named import show

MOST = 4
"""Context columns that are named; categories come first, as they say most in one word."""


@dataclass(frozen=True)
class Given:
    """One context column of n records: its raw `values`, and of a cyclic one the period."""

    name: str
    column: str
    kind: str
    values: Sequence[Any]
    period: float | str | None = None


def context_of(encoder: Any, raw: Mapping[str, Sequence[Any]], redact: Collection[str] = ()) -> list[Given]:
    """The context columns of an encoder that may be shown, categories first; `raw` has the values of each column."""
    every = [
        Given(name, category.column, "category", raw[category.column])
        for name, category in zip(encoder.category_names, encoder.categories, strict=True)
    ]
    every += [
        Given(one.name, one.column, one.kind, raw[one.column], getattr(one, "period", None)) for one in encoder.numeric
    ]
    return [one for one in every if one.name not in redact and one.column not in redact]


def settings(context: Sequence[Given], units: Mapping[str, str], count: int) -> list[str]:
    """Of each of `count` records its context in words, at most `MOST` columns; "" where there is none.

    >>> context = [Given("dest", "dest", "category", ["ATL"]), Given("hour", "hour", "cyclic", [17.0], 24.0)]
    >>> settings(context, {"hour": "h"}, 1)
    ['ATL, hour 17 h']
    """
    out = []
    for row in range(count):
        said = (_said(one, one.values[row], units.get(one.name) or units.get(one.column)) for one in context)
        out.append(", ".join([text for text in said if text][:MOST]))
    return out


def _said(one: Given, value: Any, unit: str | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{one.name} {say.MISSING}" if one.kind == "category" else ""
    if isinstance(value, bool) or one.kind == "boolean":
        return one.name if value else f"not {one.name}"
    if isinstance(value, dt.date) and one.period == "week":
        return f"a {value:%A}"
    if isinstance(value, dt.datetime) and one.period == "day":
        return f"{value:%H:%M}"
    if isinstance(value, dt.date):
        return f"{value.day} {value:%B}"
    if isinstance(value, dt.time):
        return f"{value:%H:%M}"
    text = show(value, unit, as_is=one.kind == "category")
    return text if one.kind == "category" and isinstance(value, str) else f"{one.name} {text}"
