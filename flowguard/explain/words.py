"""How numbers, ranges and reasons read in English."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

REDACTED = "redacted"
MISSING = "missing"


def number(value: float) -> str:
    """A number as people write it: thousands apart, no more digits than carry meaning.

    >>> [number(v) for v in (65.0, 1137.0, 0.0031, 1.2e9, -12.3456)]
    ['65', '1,137', '0.0031', '1.2e+09', '-12.35']
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e9 or size < 1e-4:
        return f"{value:.3g}"
    if value == int(value):
        return f"{value:,.0f}"
    return _fixed(value, max(0, 3 - math.floor(math.log10(size))), trim=True)


def quantity(value: float, unit: str | None = None) -> str:
    """A number with its unit.

    >>> quantity(65.0, "min"), quantity(3.5)
    ('65 min', '3.5')
    """
    text = number(value)
    return f"{text} {unit}" if unit and math.isfinite(value) else text


def visible(text: str) -> str:
    """Text without anything that acts: control characters and marks that turn the writing direction as code points.

    >>> visible("a\\u202eb"), visible("\\x1b[2J")
    ('a[U+202E]b', '[U+001B][2J')
    """
    return "".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in text)


def percent(share: float) -> str:
    """A share as a percentage that never rounds to a false 0 % or 100 %.

    >>> [percent(p) for p in (0.97, 0.0012, 0.9999, 0.00001, 0.0)]
    ['97 %', '0.12 %', 'more than 99.9 %', 'less than 0.01 %', '0 %']
    """
    if not 0.0 <= share <= 1.0:
        return "an unknown share"
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    if share > 0.999:
        return "more than 99.9 %"
    if share < 1e-4:
        return "less than 0.01 %"
    hundredths = share * 100
    if share >= 0.99:
        return f"{hundredths:.1f} %"
    return f"{hundredths:.0f} %" if hundredths >= 10 else f"{hundredths:.2g} %"


def expected(low: float | None, high: float | None, *, beside: float | None = None) -> str:
    """A range in words, with as many decimals as its width deserves; "" when neither bound is known.

    `beside` is the value the range is read next to: when that lies outside, the rounding never hides it.

    >>> expected(107.2, 121.4, beside=65.0), expected(None, 30.2), expected(float("-inf"), float("nan"))
    ('107 to 121', 'at most 30.2', '')
    """
    bottom, top = _bound(low), _bound(high)
    if bottom is None and top is None:
        return ""
    if bottom is None or top is None:
        return f"at least {number(bottom)}" if bottom is not None else f"at most {number(top or 0.0)}"
    texts = _rounded((bottom, top), top - bottom, beside)
    return f"about {texts[0]}" if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def value_reason(
    column: str, value: float, low: float | None, high: float | None, *, unit: str | None = None, setting: str = ""
) -> str:
    """Why an observed number is odd; `setting`: under which context.

    >>> value_reason("air_time", 65.0, 107.2, 121.4, unit="min", setting="LGA, ATL")
    'air_time 65 min; 107 to 121 expected for LGA, ATL'
    >>> value_reason("dep_delay", 4.0, -6.1, 19.8, unit="min")
    'dep_delay 4 min; within the expected -6 to 20'
    """
    said = f"{column} {quantity(value, unit)}"
    wanted = expected(low, high, beside=value)
    if not wanted:
        return said
    if not _outside(value, low, high):
        return f"{said}; within the expected {wanted}"
    return f"{said}; {wanted} expected" + (f" for {setting}" if setting else "")


@dataclass(frozen=True)
class Part:
    """One column of a pair: its value, and the range expected of it without the other."""

    column: str
    value: float
    low: float
    high: float
    unit: str | None = None


def pair_reason(one: Part, other: Part, setting: str = "") -> str:
    """Why two numbers that belong together are odd.

    >>> pair_reason(Part("dep_delay", 1137.0, -8.2, 40.1, "min"), Part("arr_delay", 1127.0, -20.4, 45.0, "min"))
    'dep_delay 1,137 min and arr_delay 1,127 min; -8 to 40 and -20 to 45 expected together'
    """
    values = " and ".join(f"{part.column} {quantity(part.value, part.unit)}" for part in (one, other))
    wanted = [expected(part.low, part.high, beside=part.value) for part in (one, other)]
    said = f"{values}; {' and '.join(wanted)} expected together" if all(wanted) else f"{values} together"
    return said + (f" for {setting}" if setting else "")


def second_reason(one: Part, partner: str) -> str:
    """The part of a pair that is told after the pair.

    >>> second_reason(Part("arr_delay", 1127.0, -20.4, 45.0, "min"), "dep_delay")
    'arr_delay 1,127 min; -20 to 45 expected together with dep_delay'
    """
    wanted = expected(one.low, one.high, beside=one.value)
    said = f"{one.column} {quantity(one.value, one.unit)}"
    return f"{said}; {wanted} expected together with {partner}" if wanted else f"{said}, together with {partner}"


def _outside(value: float, low: float | None, high: float | None) -> bool:
    bottom, top = _bound(low), _bound(high)
    return (bottom is not None and value < bottom) or (top is not None and value > top)


def missing_reason(column: str, probability: float | None = None, *, ever: bool = True) -> str:
    """Why it is odd that a column is missing; `probability`: of being missing, given the context, when known.

    `ever`: whether it was ever missing in training.

    >>> missing_reason("arr_delay", 0.03), missing_reason("arr_delay"), missing_reason("fare", 0.001, ever=False)
    ('arr_delay is missing; observed in 97 % of such records', 'arr_delay is missing', \
'fare is missing, which it never was in training')
    """
    said = f"{column} is missing"
    if not ever:
        return f"{said}, which it never was in training"
    return said if probability is None else f"{said}; observed in {percent(1.0 - probability)} of such records"


def level_reason(column: str, text: str, probability: float, expected: tuple[str, float] | None = None) -> str:
    """Why a level, or a number that has a probability of its own, is odd.

    `probability` is that of the level given what comes before; `expected` is the likeliest other one with its own.

    >>> level_reason("protocol", "icmp", 0.003, ("tcp", 0.97)), level_reason("protocol", "missing", 0.01)
    ('protocol icmp in 0.3 % of such records; tcp in 97 %', 'protocol is missing in 1 % of such records')
    """
    said = f"{column} {_is(text)} in {percent(probability)} of such records"
    return said if expected is None else f"{said}; {expected[0]} in {percent(expected[1])}"


def unseen_reason(
    column: str, text: str, probability: float | None = None, expected: tuple[str, float] | None = None
) -> str:
    """Why a level is odd that the model does not know.

    `probability` is that of all levels that are too rare to be told apart, None where every level of training is.

    >>> unseen_reason("service", "gopher", None, ("http", 0.9))
    'service gopher was never seen in training; http in 90 % of such records'
    >>> unseen_reason("city", "Ely", 0.02)
    'city Ely is none of the common ones; one like it in 2 % of such records'
    """
    said = f"{column} {text} was never seen in training"
    if probability is not None:
        said = f"{column} {text} is none of the common ones; one like it in {percent(probability)} of such records"
    if expected is None:
        return said
    return f"{said}; {expected[0]} in {percent(expected[1])}" + ("" if probability is not None else " of such records")


def beside_reason(column: str, text: str, usual: tuple[str, float]) -> str:
    """Why a number is odd that is usually at one value, or missing: `usual` and its probability.

    >>> beside_reason("tax", "12.5", ("0", 0.98)), beside_reason("tax", "9e+09; 3 to 40 expected", ("0", 0.98))
    ('tax 12.5; 0 in 98 % of such records', 'tax 9e+09; 3 to 40 expected; 0 in 98 % of such records')
    """
    return f"{column} {text}; {usual[0]} in {percent(usual[1])} of such records"


def off_lattice_reason(column: str, text: str, step: float, *, whole: bool = False) -> str:
    """Why a number between the values that an integer can take is odd; `whole`: these are the whole numbers.

    >>> off_lattice_reason("count", "3.5", 1.0, whole=True), off_lattice_reason("temp", "3.55", 0.1)
    ('count 3.5; a whole number expected', 'temp 3.55; steps of 0.1 expected')
    """
    return f"{column} {text}; {'a whole number' if whole else f'steps of {number(step)}'} expected"


def redacted_reason(column: str) -> str:
    """The reason of a column whose values must not be shown.

    >>> redacted_reason("income")
    'income is unusual (its values are redacted)'
    """
    return f"{column} is unusual (its values are redacted)"


def by_contrast(family: str) -> str:
    """The notice of a density whose columns' terms cannot be told apart.

    >>> by_contrast("realnvp")[:67]
    'Reasons by contrast alone: the family realnvp mixes column orders, '
    """
    return (
        f"Reasons by contrast alone: the family {family} mixes column orders, so a record has no exact share per "
        "column. Columns are ranked by how much likelier the record becomes if one of them takes its best value."
    )


def _is(text: str) -> str:
    return f"is {text}" if text == MISSING else text


def _bound(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _fixed(value: float, decimals: int, *, trim: bool = False) -> str:
    text = f"{value:,.{decimals}f}"
    if trim and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text[1:] if text.lstrip("-").strip("0.,") == "" and text.startswith("-") else text


def _rounded(bounds: tuple[float, float], width: float, beside: float | None) -> tuple[str, str]:
    size = max(abs(b) for b in bounds)
    if size >= 1e9 or 0 < size < 1e-4 or not width > 0:
        return number(bounds[0]), number(bounds[1])
    decimals = max(0, -math.floor(math.log10(width / 3)))
    if all(value is None or value == round(value) for value in (*bounds, beside)):
        decimals = 0  # whole numbers throughout
    if decimals > 8:
        return number(bounds[0]), number(bounds[1])
    if beside is not None and math.isfinite(beside):
        # 121.4 beside "107 to 121" (121.3) would look like a contradiction: add decimals until it shows.
        shown = float(number(beside).replace(",", ""))
        for extra in range(4):
            bottom, top = (round(b, decimals + extra) for b in bounds)
            if (beside < bounds[0]) == (shown < bottom) and (beside > bounds[1]) == (shown > top):
                decimals += extra
                break
    return _fixed(bounds[0], decimals), _fixed(bounds[1], decimals)
