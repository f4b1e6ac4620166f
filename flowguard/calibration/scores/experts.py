"""The score of several experts: how deep in the tail of ordinary records each of them finds a record, added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from flowguard.calibration.parts import Parts
from flowguard.calibration.scores.score import Score
from flowguard.calibration.tail import CONTINUOUS, TailRank, tails_from_state, tails_to_state
from flowguard.errors import CalibrationError

Array = NDArray[np.float64]

_HELD = 1e300
_FLOW, _KERNEL, _ALONE, _BLURRED = 0.5, 1.0, 0.5, 1.0


@dataclass(frozen=True, eq=False)
class Experts(Score):
    """Sum over the experts of -log(tail rank of the expert's own score), Fisher's way of combining p-values.

    A flow or kernel density is read twice, with half the weight each: as -log likelihood, and as the mixed score, which
    keeps probability and density apart. The first is drowned by densities that vary a lot, the second by probabilities
    that do, and neither can be told beforehand. Of the columns by themselves, the last expert, the own score is the
    largest share: the term of the strangest column less that column's mean over the reference records. Of the blurred
    records it is -log density: distances count there, whatever is an atom or an integer.

    Experts err in different places, and their likelihoods are on scales of their own: in a sum of these the one with
    the widest spread would decide alone. Ranks compare, and a record that several find odd is odder than one that a
    single one does. Beyond the reference the ranks go on falling, but slowly (`eased` in `Reference`), so that
    extremes never tie and none outweighs all other evidence. Kernel densities, the blurred one among them, count once,
    the flow and the columns by themselves half.

    Source: Fisher 1932, section 21.1, with the weights of Good 1955; the ranks are dependent, so the sum is no p-value
    by itself and is only ranked by.

    >>> rng = np.random.default_rng(0)
    >>> log_density = rng.normal(size=(200, 2))
    >>> parts = Parts(
    ...     np.zeros(200),
    ...     log_density[:, 0],
    ...     np.full(200, "1"),
    ...     expert_mass=np.zeros((200, 2)),
    ...     expert_density=log_density,
    ...     alone=log_density[:, 1:],
    ...     blurred=log_density[:, 1],
    ... )
    >>> score = Experts.fit(parts).score(parts)
    >>> bool(score[log_density.sum(axis=1).argmin()] > np.median(score))
    True
    """

    inner: tuple[TailRank, ...]
    outer: tuple[TailRank, ...]
    usual: Array

    name: ClassVar[str] = "experts"

    @classmethod
    def fit(cls, parts: Parts) -> Experts:
        _, density, alone, _ = _given(parts)
        inner = tuple(TailRank.fit(density[:, e], parts.pattern) for e in range(density.shape[1] - 1))
        usual = _usual(alone, _dense(parts))
        own = _own(parts, inner, usual)
        return cls(inner, tuple(TailRank.fit(-one, _ones(one)) for one in own.T), usual)

    def score(self, parts: Parts) -> Array:
        own = _own(parts, self.inner, self.usual)
        read_twice = [_FLOW] + [_KERNEL] * (len(self.inner) - 1)
        weights = [weight / 2 for weight in read_twice for _ in range(2)] + [_ALONE, _BLURRED]
        total = np.zeros(len(parts))
        for weight, tail, one in zip(weights, self.outer, own.T, strict=True):
            # Added one after another: a product of matrices may sum a record's terms by its place among the others.
            total += weight * -tail.log_rank(-one, _ones(one), eased=True)
        return np.minimum(total, _HELD)

    def to_state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        state, arrays = tails_to_state((*self.inner, *self.outer))
        return {**state, "inner": len(self.inner)}, {**arrays, "usual": self.usual}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, Array]) -> Experts:
        rest = {name: array for name, array in arrays.items() if name != "usual"}
        tails, inner = tails_from_state(state, rest), int(state["inner"])
        return cls(tails[:inner], tails[inner:], arrays["usual"])


def _own(parts: Parts, inner: tuple[TailRank, ...], usual: Array) -> Array:
    """The own scores, higher = stranger: two of each expert but the last, that one's, and the blurred one's."""
    mass, density, alone, blurred = _given(parts)
    found = []
    for e, tail in enumerate(inner):
        found.append(np.minimum(-mass[:, e] - density[:, e], _HELD))
        found.append(-mass[:, e] - tail.log_rank(density[:, e], parts.pattern, eased=True))
    shares = np.clip(np.where(_dense(parts), usual[1], usual[0]) - alone, -_HELD, _HELD)
    found += [shares.max(axis=1) if len(alone) else np.zeros(0), -blurred]
    return np.stack(found, axis=1)


def _usual(alone: Array, dense: NDArray[np.bool_]) -> Array:
    """What is taken off each column's term, (2, columns): where it has no density, and where it has.

    Densities have units, which a mean over both would carry into the share of a missing value.
    """
    ever, n = dense.any(axis=0), max(len(alone), 1)
    return np.stack(
        [
            np.where(ever, 0.0, alone.sum(axis=0) / n),
            np.where(dense, alone, 0.0).sum(axis=0) / np.maximum(dense.sum(axis=0), 1),
        ]
    )


def _dense(parts: Parts) -> NDArray[np.bool_]:
    """Whether each column of each record has a density, (n, columns)."""
    assert parts.alone is not None
    shape = parts.alone.shape
    return np.ascontiguousarray(parts.pattern.astype(f"U{shape[1]}")).view("U1").reshape(shape) == CONTINUOUS


def _given(parts: Parts) -> tuple[Array, Array, Array, Array]:
    given = parts.expert_mass, parts.expert_density, parts.alone, parts.blurred
    if any(one is None for one in given):
        raise CalibrationError(
            "`score: experts` adds up what several experts say, and this version has a single density. "
            "Set `model.kernel` to a number of records, such as 2000, or use another score."
        )
    return given  # type: ignore[return-value]


def _ones(values: Array) -> NDArray[np.str_]:
    return np.full(len(values), "1")
