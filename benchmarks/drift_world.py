"""A made-up airline for benchmarks/drift.py: flights of known density, and what can go wrong with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from flowguard.calibration.drift import Records

Array = NDArray[np.float64]

ROUTES = np.array(["north", "south", "east", "west"])
USUAL_MIX = np.array([0.4, 0.3, 0.2, 0.1])
WINTER_MIX = np.array([0.25, 0.3, 0.2, 0.25])
LATE_BY_ROUTE = np.array([0.0, 0.3, -0.2, 0.8])
NOISE_BY_ROUTE = np.array([1.0, 0.8, 1.2, 1.5])
YEAR = 365.25


@dataclass(frozen=True)
class Weather:
    """What kind of days it makes: a fault, by its field, is one that differs from the usual.

    Days are clustered: the records of one share an effect on `delay` and on `fuel` that no column tells, a mix of
    routes and a temperature.
    """

    mix: tuple[float, ...] = tuple(USUAL_MIX)
    season: float = 0.0
    delay_off: float = 0.0
    missing: float = 0.02
    stuck: float = 0.0
    slope: float = 0.8
    new_route: float = 0.0
    day_effect: float = 0.3


def day_of(random: np.random.Generator, weather: Weather, day: float, *, records: int = 150) -> Records:
    """One day's records, with their scores and conditional ranks under the density of usual days.

    delay | route, temperature is normal, fuel | delay, route too, and the pressure is by itself.
    """
    n = int(random.poisson(records)) + 1
    mix = random.dirichlet(100 * np.array(weather.mix))
    route = random.choice(len(ROUTES), size=n, p=mix)
    warmth = weather.season * math.sin(2 * math.pi * day / YEAR) + random.normal(0, 0.5)
    temperature = warmth + random.normal(size=n)
    middle, noise = _delay_given(route, temperature)
    true_delay = middle + random.normal(0, weather.day_effect) + noise * random.normal(size=n)
    fuel = weather.slope * true_delay + 0.5 * route + random.normal(0, weather.day_effect / 2)
    fuel += math.sqrt(0.36 + 0.64 - min(0.64, weather.slope**2)) * random.normal(size=n)
    pressure = random.normal(size=n)
    delay = true_delay + weather.delay_off
    if weather.stuck:
        pressure[random.random(n) < weather.stuck] = 0.731
    gone = random.random(n) < weather.missing
    fuel = np.where(gone, np.nan, fuel)
    z = np.stack([(delay - middle) / noise, (fuel - 0.8 * delay - 0.5 * route) / 0.6, pressure])
    # -log density, what is missing left out; its probability is constant.
    terms = z**2 / 2 + np.log(np.stack([noise, np.full(n, 0.6), np.ones(n)]))
    ranks = dict(zip(("delay", "fuel", "pressure"), ndtr(z), strict=True))
    names = ROUTES[route].astype(object)
    names[random.random(n) < weather.new_route] = "moon"
    features = {"delay": delay, "fuel": fuel, "pressure": pressure}
    return Records(np.nansum(terms, axis=0), features, {"route": names, "temperature": temperature}, ranks)


def scores_of(random: np.random.Generator, days: int, records: int, effect: float) -> Array:
    """Scores (days, records) of quiet days; the records of a day share a random effect on level and on spread."""
    level = effect * random.normal(size=(days, 1))
    spread = np.exp(effect / 3 * random.normal(size=(days, 1)))
    return level + spread * random.standard_exponential((days, records))


PLANTED: dict[str, tuple[Weather, str]] = {
    "more winter routes": (Weather(mix=tuple(WINTER_MIX)), "context"),
    "one column off": (Weather(delay_off=0.7), "column"),
    "missing 2 % -> 8 %": (Weather(missing=0.08), "missing"),
    "sensor stuck, 10 %": (Weather(stuck=0.1), "stuck"),
    "season, no year yet": (Weather(season=2.0), "season"),
    "season, after a year": (Weather(season=2.0), "season"),
    "relation broken": (Weather(slope=0.5), "conditional"),
    "new route, 3 %": (Weather(new_route=0.03), "unseen"),
}
"""What is planted, with the kind that it has to be called."""

USUAL = Weather()


def before(planted: str) -> Weather:
    """The days before: usual, but that a season has been there all along where one is planted."""
    return replace(USUAL, season=PLANTED[planted][0].season)


def _delay_given(route: NDArray[np.int64], temperature: Array) -> tuple[Array, Array]:
    return LATE_BY_ROUTE[route] - 0.4 * temperature, NOISE_BY_ROUTE[route]
