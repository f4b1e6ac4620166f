"""Cells without a plain value, in words: levels, atoms, what is missing, and what is off its lattice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from flowguard.explain import words as say
from flowguard.explain.reason import Named, Said

if TYPE_CHECKING:
    from flowguard.density import Inputs, RecordDensity

LONGEST = 40
TILE = 64
VALUE, MISSING, FIRST = 0, 1, 2


class Levels(Protocol):
    """The part of an encoder that names what a code stands for."""

    @property
    def feature_names(self) -> list[str]: ...

    def lattice(self, name: str) -> Any: ...

    def level_of(self, name: str, code: int) -> Any: ...


def named(
    density: RecordDensity, encoder: Levels, inputs: Inputs, raw: Mapping[str, list[Any]], units: Mapping[str, str]
) -> Named:
    """How the cells of `inputs` read; `raw` holds each feature's delivered values, one per record.

    Probabilities are those of the codes given the features before and the context. A missing number that was missing
    in training too, and a plain value without atoms beside it, are left to `reasons_for`.
    """

    def say_of(rows: NDArray[np.intp], column: int) -> list[Said | None]:
        name = encoder.feature_names[column]
        kind, counts = density.discrete.columns[column].kind, density.discrete.columns[column].counts
        codes = inputs.codes[torch.as_tensor(rows), column].tolist()
        found: list[Said | None] = [None] * len(rows)
        # Of these the codes alone tell what there is to say.
        asked = [
            place
            for place, code in enumerate(codes)
            if kind == "category" or (kind == "number" and len(counts) > FIRST)
        ]
        chances = dict(zip(asked, _chances(density, inputs, rows[asked], column), strict=True))
        for place, (row, code) in enumerate(zip(rows.tolist(), codes, strict=True)):
            value, unit = raw[name][row], units.get(name)
            if code == MISSING and not counts[MISSING]:
                found[place] = Said(say.MISSING, say.missing_reason(name, ever=False))
            elif kind == "category":
                found[place] = _of_category(encoder, name, code, chances[place], counts, value, unit)
            elif code >= FIRST and kind == "integer":
                lattice, text = encoder.lattice(name), show(value, unit)
                whole = lattice.step == 1 and lattice.offset == 0
                found[place] = Said(text, say.off_lattice_reason(name, text, lattice.step, whole=whole))
            elif code != MISSING and place in chances:
                chance, text = chances[place], show(value, unit)
                usual = _likeliest(encoder, name, code, chance, unit)
                words = "" if code == VALUE else say.level_reason(name, text, float(chance[code]), _above(usual, 0.5))
                found[place] = Said(text, words, usual if code == VALUE else None)
        return found

    return say_of


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


def _chances(density: RecordDensity, inputs: Inputs, rows: NDArray[np.intp], column: int) -> list[NDArray[np.float64]]:
    """The probability of every code of a column, for each row.

    The density sees as many rows in every call, so that a record's words do not depend on which records were flagged
    beside it.
    """
    found: list[NDArray[np.float64]] = []
    for start in range(0, len(rows), TILE):
        piece = rows[start : start + TILE]
        full = np.concatenate([piece, np.repeat(piece[:1], TILE - len(piece))])
        with torch.no_grad():
            logs = density.code_log_probs(inputs.take(torch.as_tensor(full)), column)
        found += list(logs.exp().double().cpu().numpy()[: len(piece)])
    return found


def _of_category(
    encoder: Levels,
    name: str,
    code: int,
    chance: NDArray[np.float64],
    counts: tuple[int, ...],
    value: Any,
    unit: str | None,
) -> Said:
    text = say.MISSING if code == MISSING else show(value, unit, as_is=True)
    usual = _likeliest(encoder, name, code, chance, unit, as_is=True)
    if code == VALUE:
        # With levels beyond the commonest, code 0 is theirs too.
        often = float(chance[VALUE]) if counts[VALUE] else None
        return Said(text, say.unseen_reason(name, text, often, usual))
    return Said(text, say.level_reason(name, text, float(chance[code]), usual))


def _likeliest(
    encoder: Levels, name: str, code: int, chance: NDArray[np.float64], unit: str | None, *, as_is: bool = False
) -> tuple[str, float] | None:
    """The likeliest of the codes with a single value, missing among them, with its probability; None if it is `code`.

    >>> import types
    >>> levels = types.SimpleNamespace(level_of=lambda name, code: "abc"[code - 2])
    >>> _likeliest(levels, "x", 3, np.array([0.1, 0.0, 0.5, 0.4]), None)
    ('a', 0.5)
    """
    likely = MISSING + int(np.argmax(chance[MISSING:]))
    if likely == code:
        return None
    text = say.MISSING if likely == MISSING else show(encoder.level_of(name, likely), unit, as_is=as_is)
    return text, float(chance[likely])


def _above(usual: tuple[str, float] | None, least: float) -> tuple[str, float] | None:
    return usual if usual is not None and usual[1] > least else None
