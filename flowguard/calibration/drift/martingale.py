"""A bet against exchangeability that grows when batches change: a conformal test martingale.

Each batch gives one statistic, and what is bet on is its randomised rank among all earlier ones. While batches are
exchangeable the ranks are independent and uniform (Vovk, Gammerman & Shafer, "Algorithmic Learning in a Random World",
2nd ed. 2022, 2.2.8 and 8.1), so a capital of 1 bet on them stays 1 in the mean, and the chance that it ever reaches
c is at most 1 / c (Ville 1939): the test is valid though it is looked at every day. Vovk, Nouretdinov & Gammerman,
"Testing exchangeability on-line" (ICML 2003); Vovk et al., "Retrain or not retrain: conformal test martingales for
change-point detection" (COPA 2021).

Ranks are among *all* earlier batches. Ranks among a fixed reference are not independent (its own luck is in all of
them), and a bet finds that. One statistic a batch, as records of a batch may be as alike as they like.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POWERS = (0.2, 0.4, 0.6, 0.8)
"""Bets e u^(e - 1): the first for statistics beyond all earlier ones, the last for shifts hardly seen in one batch."""

BOTH = (0.4, 0.6)
"""Powers of the bets on both tails at once: batches that became more variable."""

BETS = 2 * len(POWERS) + len(BOTH) + 1

WAKING = (0.1, 0.01, 0.001)
"""Shares of the sleeping capital that start to bet with each batch, one martingale each: changes come early or late."""

RESTING = 0.02
"""Share of the betting capital that goes back to sleep with each batch."""

MOVING = 0.05
"""Share of the betting capital that is spread over all bets anew with each batch: changes go on otherwise."""


@dataclass(frozen=True, eq=False)
class Capital:
    """What the bets have made of 1, for any number of channels at once.

    `log` (...,) is the log martingale; `shares` (..., WAKING, 1 + BETS) how it is divided, asleep first, sum 1. Apart,
    nothing overflows however long it grows, and what has shrunk to nothing is woken again.
    """

    log: Array
    shares: Array

    @classmethod
    def new(cls, shape: int | tuple[int, ...] = ()) -> Capital:
        """1 everywhere, all of it asleep."""
        log = np.zeros(shape)
        shares = np.zeros((*log.shape, len(WAKING), 1 + BETS))
        shares[..., 0] = 1 / len(WAKING)
        return cls(log, shares)

    def bet(self, u: Array) -> Capital:
        """After ranks `u` (...,) in (0, 1); NaN is no bet, and the channel stays as it is.

        Capital is first moved between the bets by a rule that looks at nothing, then multiplied by densities of u:
        a martingale whatever the rule ("sleepy jumper", Vovk et al. 2021).
        """
        u = np.asarray(u, dtype=np.float64)
        asleep, awake = self.shares[..., :1], self.shares[..., 1:]
        total = awake.sum(axis=-1, keepdims=True)
        shares = np.empty_like(self.shares)
        shares[..., :1] = asleep * (1 - _WAKING) + RESTING * total
        shares[..., 1:] = awake * (1 - RESTING - MOVING) + (MOVING * total + _WAKING * asleep) / BETS
        played = ~np.isnan(u)
        shares[..., 1:] *= densities(np.where(played, u, 0.5))[..., None, :]
        grown = shares.sum(axis=(-2, -1))
        log = np.where(played, self.log + np.log(grown), self.log)
        return Capital(log, np.where(played[..., None, None], shares / grown[..., None, None], self.shares))

    def restart(self, where: NDArray[np.bool_]) -> Capital:
        """1 again in the channels `where` (...,)."""
        new = Capital.new(self.log.shape)
        return Capital(np.where(where, new.log, self.log), np.where(where[..., None, None], new.shares, self.shares))

    def to_json(self) -> dict[str, Any]:
        return {"log": self.log.tolist(), "shares": self.shares.tolist()}

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Capital:
        log = np.asarray(state["log"], dtype=np.float64)
        shares = np.asarray(state["shares"], dtype=np.float64)
        return cls(log, shares.reshape(*log.shape, len(WAKING), 1 + BETS))


_WAKING = np.array(WAKING)[:, None]
_POWERS = np.array(POWERS)
_LEAST = 1e-12  # rounding may carry a rank to 1, where a density is infinite; held back, it pays less than it might
_LOG_POWERS = np.log(_POWERS)
_PLACES = [POWERS.index(power) for power in BOTH]


def densities(u: Array) -> Array:
    """Each bet's density at u in (0, 1), (..., BETS): high statistics (low u), low ones, both, the middle.

    The middle, 6 u (1 - u), pays when batches become more alike than they were.
    """
    u = np.clip(u, _LEAST, 1 - _LEAST)[..., None]
    high = np.exp(_LOG_POWERS + (_POWERS - 1) * np.log(u))
    low = np.exp(_LOG_POWERS + (_POWERS - 1) * np.log1p(-u))
    both = (high[..., _PLACES] + low[..., _PLACES]) / 2
    return np.concatenate([high, low, both, 6 * u * (1 - u)], axis=-1)


def rank(earlier: Array, value: Array, coin: Array) -> Array:
    """The randomised rank (...,) of `value` among `earlier` (n, ...) and itself; low = higher than most.

    u = (number above + coin * (number equal, itself included)) / (number in all), `coin` in (0, 1) (Vovk et al. 2003).
    NaN in `earlier` is left out; the rank of NaN is NaN.

    >>> float(rank(np.array([1.0, 2.0, 2.0]), np.array(2.0), np.array(0.5)))
    0.375
    """
    above = (earlier > value).sum(axis=0)
    equal = (earlier == value).sum(axis=0)
    known = (~np.isnan(earlier)).sum(axis=0)
    return np.where(np.isnan(value), np.nan, (above + coin * (equal + 1)) / (known + 1))


def coin(*names: str) -> float:
    """A number in (0, 1) that the names decide: what breaks ties is the same at every replay.

    >>> coin("flights", "2013-05-01", "score//level") == coin("flights", "2013-05-01", "score//level")
    True
    """
    # Lengths in front, that ("ab", "c") is not ("a", "bc").
    text = "".join(f"{len(name)}:{name}" for name in names)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2.0**52


def threshold(channels: int, chance: float) -> float:
    """The log martingale at which one of `channels` alarms, log(channels / chance).

    Then P(any alarm, ever) <= chance, however the channels depend on each other. The mean of their martingales would
    not do: each is one to its own past only, which is not the past of them all.

    >>> round(math.exp(threshold(20, 0.01)))
    2000
    """
    if not 0 < chance < 1:
        raise ValueError(f"the chance of an alarm lies between 0 and 1, not {chance}")
    return math.log(max(1, channels) / chance)
