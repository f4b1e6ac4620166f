"""How a cell's value is shown: as text, whatever it holds."""

from __future__ import annotations

import math
from datetime import date, datetime

from flowguard.explain.words import visible

#: Longer text is cut: a page is for looking, the table keeps the whole.
LONGEST = 120


def cell(value: object) -> str:
    """A cell's value as one line of harmless text; escaping for HTML is the template's part.

    Keys and codes keep their digits as they are (2013, not 2,013). Control characters and marks that turn the
    writing direction are shown as code points, so that text cannot dress up as other text.

    >>> cell(2013), cell(1137.0), cell(None), cell("a\\u202eb"), cell(True)
    ('2013', '1137', 'missing', 'a[U+202E]b', 'true')
    """
    if value is None or repr(value) in ("NaT", "<NA>"):
        return "missing"
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()  # a numpy scalar
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isnan(value):
            return "missing"
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").removesuffix(" 00:00:00")
    if isinstance(value, date):
        return value.isoformat()
    text = str(value)
    shown = visible(text[: LONGEST + 1])
    return shown if len(text) <= LONGEST else f"{shown[:LONGEST]}… ({len(text):,} characters)"
