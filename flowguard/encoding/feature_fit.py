"""Learning a feature in the streamed pass, and the kind it turns out to have."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flowguard.encoding.categorical import CategoryFeature, category_feature, levels_of_number
from flowguard.encoding.category import CategoryFit
from flowguard.encoding.continuous import NumberFeature, number_feature
from flowguard.encoding.feature import Feature
from flowguard.encoding.integer import IntegerFeature, integer_feature
from flowguard.encoding.number import NumberFit, read_numbers
from flowguard.encoding.settings import FeatureSettings


class FeatureFit:
    """What is learned of one feature in the streamed pass.

    The fitted kind is the declared one but for three cases, each with a notice: a number with one or two values in
    the whole stream is a category, and so is an integer with one; an integer without a lattice of at most 2^20 steps
    is what it would be if declared a number; a column never observed is no feature.
    """

    def __init__(self, name: str, settings: FeatureSettings, *, seed: int) -> None:
        self.column = settings.column or name
        self._name = name
        self._settings = settings
        self._fit: NumberFit | CategoryFit
        if settings.kind == "category":
            self._fit = CategoryFit(name, self.column, max_levels=settings.max_levels)
        else:
            self._fit = NumberFit(name, seed=seed)

    def update(self, array: pa.Array) -> None:
        if isinstance(self._fit, CategoryFit):
            self._fit.update(array)
        else:
            self._fit.update(read_numbers(array, column=self.column))

    def feature(self, notices: list[str]) -> Feature | None:
        """The fitted feature, once; None, with a notice, where it has no value in any record."""
        fit = self._fit
        if isinstance(fit, CategoryFit):
            return category_feature(fit, notices)
        fit.finish()
        if not fit.observed:
            notices.append(f"feature {self._name} was dropped: it has no value in any record")
            return None
        if self._settings.kind == "integer" and not fit.constant:
            integer = integer_feature(fit, self.column, self._settings, notices)
            if integer is not None:
                return integer
        if fit.few is not None:
            return levels_of_number(fit, self.column, fit.few, notices)
        return number_feature(fit, self.column, self._settings, notices)


def feature_from_dict(state: dict[str, Any]) -> Feature:
    """The feature whose `to_dict` is `state`."""
    if state["kind"] == "number":
        return NumberFeature.from_dict(state)
    return IntegerFeature.from_dict(state) if state["kind"] == "integer" else CategoryFeature.from_dict(state)
