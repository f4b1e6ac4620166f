"""A calibration on disk: plain JSON and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from flowguard.calibration.aging import Aging
from flowguard.calibration.cells import Cells
from flowguard.calibration.extrapolate import Tail
from flowguard.calibration.policy import read_policy
from flowguard.calibration.scores import SCORES
from flowguard.errors import BundleError

if TYPE_CHECKING:
    from flowguard.calibration.calibration import Calibration

VERSION = 4
_SCORER = "scorer."  # in front of the names of the score's own arrays


def written(calibration: Calibration) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """JSON and arrays, from which `read` makes the same bits."""
    scorer, arrays = calibration.scorer.to_state()
    state: dict[str, Any] = {
        "version": VERSION,
        "score": calibration.method,
        "scorer": scorer,
        "policy": calibration.policy.to_dict(),
        "counts": dict(calibration.counts),
        "top": calibration.top,
        "cells": calibration.cells.to_state(),
        "sizes": list(calibration.sizes),
        "rows": calibration.rows,
        "units": calibration.units,
        "dates": list(calibration.dates) if calibration.dates else None,
        "tails": [tail.to_dict() for tail in calibration.tails],
    }
    # Only where asked for, so that all other calibrations keep their bytes.
    if calibration.ties != "conservative":
        state["ties"] = calibration.ties
    found = {"scores": calibration.scores, "score_units": calibration.score_units}
    if calibration.aging is not None and calibration.days is not None:
        state["aging"] = calibration.aging.to_dict()
        found["days"] = calibration.days
    return state, found | {f"{_SCORER}{name}": array for name, array in arrays.items()}


def read(state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of the calibration that wrote `state`; raises `BundleError` when that has another layout."""
    if state.get("version") != VERSION:
        raise BundleError(f"the calibration has layout {state.get('version')!r}; this flowguard reads {VERSION}")
    if state["score"] not in SCORES:
        raise BundleError(f"the calibration has a score {state['score']!r} that this flowguard does not know")
    of_scorer = {name.removeprefix(_SCORER): part for name, part in arrays.items() if name.startswith(_SCORER)}
    sizes = tuple(state["sizes"])
    references = np.split(arrays["scores"], np.cumsum(sizes)[:-1])
    return {
        "scorer": SCORES[state["score"]].from_state(state["scorer"], of_scorer),
        "policy": read_policy(state["policy"]),
        "scores": arrays["scores"],
        "score_units": arrays["score_units"],
        "counts": dict(state["counts"]),
        "top": state["top"],
        "cells": Cells.from_state(state["cells"]),
        "sizes": sizes,
        "rows": state["rows"],
        "units": state["units"],
        "dates": tuple(state["dates"]) if state["dates"] else None,
        "tails": tuple(Tail.from_dict(one, own) for one, own in zip(state["tails"], references, strict=False)),
        "ties": state.get("ties", "conservative"),
        "aging": Aging.from_dict(state["aging"]) if "aging" in state else None,
        "days": arrays.get("days"),
    }
