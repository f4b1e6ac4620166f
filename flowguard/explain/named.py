"""Cells without a plain value, in words: levels, atoms, and what is off its lattice."""

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

TEXT = 40
RARELY = 0.1


class Levels(Protocol):
    """The part of an encoder that names what a code stands for."""

    @property
    def feature_names(self) -> list[str]: ...

    @property
    def steps(self) -> dict[str, float]: ...

    def level_of(self, name: str, code: int) -> Any: ...


def named(
    density: RecordDensity, encoder: Levels, inputs: Inputs, raw: Mapping[str, list[Any]], units: Mapping[str, str]
) -> Named:
    """How the cells of `inputs` read; `raw` holds each feature's delivered values, one per record.

    A missing value of a number or an integer is left to `reasons_for`, which knows how often it is observed.
    """
    kinds = [column.kind for column in density.discrete.columns]

    def say_of(rows: NDArray[np.intp], column: int) -> list[Said | None]:
        name, kind = encoder.feature_names[column], kinds[column]
        codes = inputs.codes[torch.as_tensor(rows), column].tolist()
        if kind != "category" and len(density.discrete.columns[column].counts) == 2:
            return [None] * len(rows)
        with torch.no_grad():
            chances = density.code_log_probs(inputs.take(torch.as_tensor(rows)), column).exp().double().cpu().numpy()
        found: list[Said | None] = []
        for row, code, chance in zip(rows.tolist(), codes, chances, strict=True):
            value, unit = raw[name][row], units.get(name)
            if kind == "category":
                likely = int(np.argmax(chance))
                usual = None if likely < 2 or likely == code else show(encoder.level_of(name, likely), unit)
                expected = (usual, float(chance[likely])) if usual is not None else None
                text = say.MISSING if code == 1 else show(value, unit)
                seen = None if code == 0 else float(chance[code])
                found.append(Said(text, say.level_reason(name, text, seen, expected)))
            elif code < 2:
                atom = 0 if kind == "integer" else int(np.argmax(chance))
                # A plain value where nearly always an atom stands: that it is none is what is odd.
                beside = code == 0 and atom >= 2 and chance[0] < RARELY
                text = show(value, unit)
                other = show(encoder.level_of(name, atom), unit) if beside else ""
                found.append(Said(text, say.beside_reason(name, text, other, float(chance[atom]))) if beside else None)
            elif kind == "integer":
                text = show(value, unit)
                found.append(Said(text, say.off_lattice_reason(name, text, encoder.steps[name])))
            else:
                text = show(value, unit)
                found.append(Said(text, say.level_reason(name, text, float(chance[code]), None)))
        return found

    return say_of


def show(value: Any, unit: str | None = None) -> str:
    """A level as people write it, cut where it is long.

    >>> show("tcp"), show(3.0, "min"), show(True)
    ('tcp', '3 min', 'true')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return say.MISSING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return say.quantity(float(value), unit)
    text = str(value)
    return text if len(text) <= TEXT else text[: TEXT - 3] + "..."
