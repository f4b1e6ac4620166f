"""The whole encoder: every column of a pipeline, fitted in one streamed pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.category import Category, CategoryFit, Level
from flowguard.encoding.context import NumericContext, NumericFit, numeric_from_dict
from flowguard.encoding.encoded import Encoded, reasons
from flowguard.encoding.feature import Feature
from flowguard.encoding.feature_fit import FeatureFit, feature_from_dict
from flowguard.encoding.integer import IntegerFeature
from flowguard.encoding.lattice import Lattice
from flowguard.encoding.settings import ContextSettings, FeatureSettings
from flowguard.errors import BundleError, InputError, SchemaError, SourceError

Array = NDArray[np.float64]

VERSION = 3


@dataclass(frozen=True, eq=False)
class Encoder:
    """Features and context of a table, to tensors and back.

    >>> table = pa.table({"x": [1.0, 2.0, 4.0, None], "day": ["mon", "tue", "mon", "mon"]})
    >>> encoder = Encoder.fit(
    ...     {"x": FeatureSettings(front="standard")},
    ...     {"day": ContextSettings("category")},
    ...     table.to_batches(),
    ...     seed=0,
    ... )
    >>> encoded = encoder.encode(table.to_batches()[0])
    >>> encoded.codes[:, 0].tolist(), encoded.levels[:, 0].tolist()
    ([0, 0, 0, 1], [2, 3, 2, 2])
    >>> encoder.decode("x", encoded.x[:3, 0]).round(12).tolist()
    [1.0, 2.0, 4.0]
    """

    features: Sequence[Feature]
    numeric: Sequence[NumericContext]
    categories: Sequence[Category]
    category_names: list[str]
    notices: list[str]
    rows: int

    # -- what it holds ---------------------------------------------------------------------------------------

    @property
    def feature_names(self) -> list[str]:
        return [feature.name for feature in self.features]

    @property
    def context_width(self) -> int:
        """Columns of `Encoded.context`."""
        return sum(column.width for column in self.numeric)

    @property
    def context_names(self) -> list[str]:
        """Context entries that were kept, the numeric ones before the categories."""
        return [column.name for column in self.numeric] + self.category_names

    @property
    def cardinalities(self) -> list[int]:
        """Codes of each categorical context column, the two reserved ones included."""
        return [category.cardinality for category in self.categories]

    @property
    def columns(self) -> list[str]:
        """The raw columns that `encode` reads, each once."""
        names = [feature.column for feature in self.features]
        names += [column.column for column in self.numeric] + [category.column for category in self.categories]
        return list(dict.fromkeys(names))

    @property
    def missing_counts(self) -> dict[str, int]:
        """Rows of the fit in which each feature was missing."""
        return {feature.name: feature.missing for feature in self.features}

    @property
    def never_missing(self) -> list[str]:
        """Features that had a value in every row of the fit."""
        return [feature.name for feature in self.features if not feature.missing]

    @property
    def steps(self) -> dict[str, float]:
        """The step of every feature whose values lie on a lattice, in the user's units."""
        return {item.name: item.step for item in self.features if item.step is not None}

    def density_columns(self) -> list[dict[str, Any]]:
        """What a density must know of each feature, as plain JSON: kind, counts per code, and of categories `novel`."""
        return [feature.density_column() for feature in self.features]

    def feature(self, name: str) -> Feature:
        """The fitted feature; raises `KeyError` when there is none of that name."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(f"{name} is not a feature of this encoder; it has {', '.join(self.feature_names)}")

    def lattice(self, name: str) -> Lattice | None:
        """The points that an integer feature can take; None for the other kinds."""
        feature = self.feature(name)
        return feature.lattice if isinstance(feature, IntegerFeature) else None

    def level_of(self, name: str, code: int) -> Level | None:
        """The level of a category's code, the atom of a number's; None for codes that stand for no single value.

        Raises `KeyError` for a feature or a code that it has not.
        """
        return self.feature(name).level_of(code)

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        features: Mapping[str, FeatureSettings],
        context: Mapping[str, ContextSettings],
        chunks: Iterable[pa.RecordBatch],
        *,
        seed: int,
    ) -> Encoder:
        """Learn every column in one pass over `chunks`; the result does not depend on how the stream is cut.

        A feature that is never observed is dropped with a notice, so is a context column that is constant or never
        observed. A feature declared a number that has one or two values is a category, and an integer without a
        lattice of at most 2^20 steps a number; notices say so.
        Raises `SchemaError` when a column is missing or of another type than its kind, `SourceError` when
        there is no row, `InputError` when no feature is left.
        """
        learning = {name: FeatureFit(name, settings, seed=seed) for name, settings in features.items()}
        contexts: dict[str, NumericFit | CategoryFit] = {}
        for name, given in context.items():
            column = given.column or name
            if given.kind == "category":
                contexts[name] = CategoryFit(name, column, max_levels=given.max_levels)
            else:
                contexts[name] = NumericFit(name, column, given, seed=seed)
        rows = 0
        for chunk in chunks:
            rows += len(chunk)
            for fit in (*learning.values(), *contexts.values()):
                fit.update(_column(chunk, fit.column))
        if not rows:
            raise SourceError("there are no records to learn the columns from")
        notices: list[str] = []
        fitted = [item for item in (fit.feature(notices) for fit in learning.values()) if item is not None]
        if not fitted:
            raise InputError(
                f"no feature is left to model: {', '.join(features) or 'none is given'}; "
                "none has a value in any training record"
            )
        numeric = [item.context(notices) for item in contexts.values() if isinstance(item, NumericFit)]
        categories = {name: item.category(notices) for name, item in contexts.items() if isinstance(item, CategoryFit)}
        kept = {name: item for name, item in categories.items() if item is not None}
        return cls(
            features=fitted,
            numeric=[item for item in numeric if item is not None],
            categories=list(kept.values()),
            category_names=list(kept),
            notices=notices,
            rows=rows,
        )

    # -- there and back --------------------------------------------------------------------------------------

    def encode(self, batch: pa.RecordBatch, *, dither: np.random.Generator | None = None) -> Encoded:
        """The records of `batch`; a record's numbers do not depend on the others.

        With `dither` (training only) numbers on a lattice get uniform noise of one step, so that a density does not
        learn spikes; atoms and integers get none. Raises `SchemaError` when a column is missing or of another type.
        """
        n = len(batch)
        codes = np.zeros((n, len(self.features)), dtype=np.int64)
        context = np.zeros((n, self.context_width))
        levels = np.zeros((n, len(self.categories)), dtype=np.int64)
        numbers, integers = self._places("number"), self._places("integer")
        x, log_det = np.zeros((n, len(numbers))), np.zeros((n, len(numbers)))
        lower, log_width = np.zeros((n, len(integers))), np.zeros((n, len(integers)))
        line, log_stretch = np.zeros((n, len(numbers) + len(integers))), np.zeros((n, len(numbers)))
        infinite: list[tuple[str, NDArray[np.bool_]]] = []
        for i, feature in enumerate(self.features):
            coded = feature.encode(_column(batch, feature.column), dither)
            codes[:, i] = coded.codes
            if i in numbers:
                place = numbers.index(i)
                x[:, place], log_det[:, place], line[:, place] = coded.first, coded.second, coded.line
                log_stretch[:, place] = coded.line_slope - coded.second  # type: ignore[operator]
            elif i in integers:
                place = integers.index(i)
                lower[:, place], log_width[:, place] = coded.first, coded.second
                line[:, len(numbers) + place] = coded.line
            if coded.infinite is not None:
                infinite.append((f"{feature.column} is infinite", coded.infinite))
        start = 0
        for column in self.numeric:
            out = context[:, start : start + column.width]
            start += column.width
            odd = column.encode(_column(batch, column.column), out)
            if odd is not None:
                why = "is neither 0 nor 1" if column.kind == "boolean" else "is infinite"
                infinite.append((f"{column.column} {why}", odd))
        for i, category in enumerate(self.categories):
            levels[:, i] = category.codes(_column(batch, category.column))
        return Encoded(
            x=x,
            codes=codes,
            lower=lower,
            log_width=log_width,
            log_det=log_det,
            line=line,
            log_stretch=log_stretch,
            context=context,
            levels=levels,
            refused=reasons(infinite, n),
            numbers=numbers,
            integers=integers,
        )

    def decode(self, name: str, x: Array) -> Array:
        """A feature's encoded values in the user's units, same shape; never infinite (`Front.inverse`).

        An integer's are rounded to its lattice. Raises `KeyError` for a category, which has none.
        """
        return self.feature(name).decode(np.asarray(x, dtype=np.float64))

    def _places(self, kind: str) -> tuple[int, ...]:
        return tuple(i for i, feature in enumerate(self.features) if feature.kind == kind)

    # -- on disk ---------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` of it encodes to the same bits."""
        return {
            "version": VERSION,
            "rows": self.rows,
            "features": [item.to_dict() for item in self.features],
            "numeric": [item.to_dict() for item in self.numeric],
            "categories": [
                {"name": name, **item.to_dict()}
                for name, item in zip(self.category_names, self.categories, strict=True)
            ],
            "notices": list(self.notices),
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Encoder:
        """The encoder that wrote `state`; raises `BundleError` when that has another layout."""
        if state.get("version") != VERSION:
            raise BundleError(f"the encoder has layout {state.get('version')!r}; this flowguard reads {VERSION}")
        return cls(
            features=[feature_from_dict(item) for item in state["features"]],
            numeric=[numeric_from_dict(item) for item in state["numeric"]],
            categories=[Category.from_dict(item) for item in state["categories"]],
            category_names=[item["name"] for item in state["categories"]],
            notices=list(state["notices"]),
            rows=state["rows"],
        )


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    place = batch.schema.get_field_index(name)
    if place < 0:
        twice = name in batch.schema.names
        raise SchemaError(f"column {name!r} {'occurs twice' if twice else 'is missing'}; expected once in every batch")
    return batch.column(place)
