"""Cells without a plain value, in words: levels, atoms, what is missing, and what is off its lattice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowguard.explain import words as say
from flowguard.explain.reason import Best, Named, Said

if TYPE_CHECKING:
    from flowguard.density.column import Column
    from flowguard.explain.conditional import Conditional

LONGEST = 40
UNKNOWN = "another"
VALUE, MISSING, FIRST = 0, 1, 2


class Levels(Protocol):
    """The part of an encoder that names what a code stands for."""

    @property
    def feature_names(self) -> list[str]: ...

    def lattice(self, name: str) -> Any: ...

    def level_of(self, name: str, code: int) -> Any: ...


class Answered(Protocol):
    """The part of answers that a best value needs: its code, and the value where it has one."""

    def best(self, rows: NDArray[np.intp], column: int) -> list[tuple[int, float | None]]: ...


def named(
    columns: Sequence[Column],
    encoder: Levels,
    codes: NDArray[np.int64],
    raw: Mapping[str, list[Any]],
    units: Mapping[str, str],
    conditional: Callable[[NDArray[np.intp], int], Conditional],
) -> Named:
    """How cells read; `codes` (n, d) are those of the records, `raw` holds each feature's delivered values, one each.

    Probabilities are those of the codes given the rest of the record and the context, as `conditional` knows them. A
    plain value without atoms beside it is left to `reasons_for`.
    """

    def say_of(rows: NDArray[np.intp], column: int) -> list[Said | None]:
        name, known = encoder.feature_names[column], columns[column]
        found: list[Said | None] = []
        # Where nothing but a value ever occurred there is nothing to tell apart.
        plain = known.kind != "category" and not any(known.counts[MISSING:])
        given = None if plain else conditional(rows, column)
        for place, row in enumerate(rows.tolist()):
            chance = Chances.plain() if given is None else Chances.of(given, place)
            found.append(_cell(encoder, name, known, int(codes[row, column]), chance, raw[name][row], units.get(name)))
        return found

    return say_of


def bests(
    encoder: Levels, columns: Sequence[Column], answers: Answered, units: Mapping[str, str]
) -> Callable[[NDArray[np.intp], int], list[Best]]:
    """The best value of each cell as people write it."""

    def best_of(rows: NDArray[np.intp], column: int) -> list[Best]:
        name, kind = encoder.feature_names[column], columns[column].kind
        found = []
        for code, value in answers.best(rows, column):
            if value is None and code >= FIRST:
                level = encoder.level_of(name, code)
                number = float(level) if kind == "number" and isinstance(level, int | float) else None
                found.append(Best(number, show(level, units.get(name), as_is=kind == "category")))
            elif value is None:
                found.append(Best(None, say.MISSING if code == MISSING else UNKNOWN))
            else:
                found.append(Best(value, show(value, units.get(name))))
        return found

    return best_of


@dataclass(frozen=True)
class Chances:
    """Probabilities by code; 0 for a code that is not among them."""

    by_code: Mapping[int, float]

    @classmethod
    def of(cls, given: Conditional, place: int) -> Chances:
        """Those of one record."""
        pairs = zip(given.codes[place].tolist(), given.chances[place].tolist(), strict=True)
        return cls({code: chance for code, chance in pairs if code >= 0})

    @classmethod
    def plain(cls) -> Chances:
        """Of a column that always has a value."""
        return cls({VALUE: 1.0})

    def __getitem__(self, code: int) -> float:
        return self.by_code.get(code, 0.0)


def _cell(
    encoder: Levels, name: str, known: Column, code: int, chance: Chances, value: Any, unit: str | None
) -> Said | None:
    kind, counts = known.kind, known.counts
    if code == MISSING and not counts[MISSING]:
        return Said(say.MISSING, say.missing_reason(name, ever=False))
    if kind == "category":
        return _of_category(encoder, name, code, chance, counts, value, unit)
    if code == MISSING:
        return Said(say.MISSING, say.missing_reason(name, chance[MISSING]))
    text = show(value, unit)
    if kind == "integer" and code >= FIRST:
        lattice = encoder.lattice(name)
        whole = lattice.step == 1 and lattice.offset == 0
        return Said(text, say.off_lattice_reason(name, text, lattice.step, whole=whole))
    usual = _likeliest(encoder, name, code, chance, unit)
    if code == VALUE:
        return None if usual is None else Said(text, "", usual)
    return Said(text, say.level_reason(name, text, chance[code], _above(usual, 0.5)))


def show(value: Any, unit: str | None = None, *, as_is: bool = False) -> str:
    """A value as people write it, cut where it is long; `as_is`: a code, whose digits are not parted.

    >>> show("tcp"), show(3.0, "min"), show(True), show(8080, as_is=True), show("")
    ('tcp', '3 min', 'true', '8080', '""')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return say.MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        if as_is and not unit and float(value).is_integer() and abs(value) < 2**53:
            return str(int(value))
        return say.quantity(float(value), unit)
    text = str(value)
    if not text.strip() or text == say.MISSING:
        return f'"{text}"'
    return say.visible(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _of_category(
    encoder: Levels,
    name: str,
    code: int,
    chance: Chances,
    counts: tuple[int, ...],
    value: Any,
    unit: str | None,
) -> Said:
    text = say.MISSING if code == MISSING else show(value, unit, as_is=True)
    usual = _likeliest(encoder, name, code, chance, unit, as_is=True)
    if code == VALUE:
        # With levels beyond the commonest, code 0 is theirs too.
        often = chance[VALUE] if counts[VALUE] else None
        return Said(text, say.unseen_reason(name, text, often, usual))
    return Said(text, say.level_reason(name, text, chance[code], usual))


def _likeliest(
    encoder: Levels, name: str, code: int, chance: Chances, unit: str | None, *, as_is: bool = False
) -> tuple[str, float] | None:
    """The likeliest of the codes with a single value, missing among them, with its probability; None if it is `code`.

    >>> import types
    >>> levels = types.SimpleNamespace(level_of=lambda name, code: "abc"[code - 2])
    >>> _likeliest(levels, "x", 3, Chances({1: 0.1, 2: 0.5, 3: 0.4}), None)
    ('a', 0.5)
    """
    known = [one for one in chance.by_code if one != VALUE]
    if not known:
        return None
    likely = max(known, key=lambda one: (chance[one], -one))
    if likely == code:
        return None
    text = say.MISSING if likely == MISSING else show(encoder.level_of(name, likely), unit, as_is=as_is)
    return text, chance[likely]


def _above(usual: tuple[str, float] | None, least: float) -> tuple[str, float] | None:
    return usual if usual is not None and usual[1] > least else None
