"""The whole encoder: every column of a pipeline, fitted in one streamed pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flowguard.encoding.category import Category, CategoryFit
from flowguard.encoding.context import NumericContext, NumericFit, numeric_from_dict
from flowguard.encoding.encoded import Encoded, reasons
from flowguard.encoding.number import Number, NumberFit, read_numbers
from flowguard.encoding.settings import ContextSettings, NumberSettings
from flowguard.errors import BundleError, InputError, SchemaError, SourceError

Array = NDArray[np.float64]

VERSION = 1


@dataclass(frozen=True, eq=False)
class Feature:
    """A fitted feature: entry name, raw column, rows in which it was missing at the fit."""

    name: str
    column: str
    missing: int
    number: Number


@dataclass(frozen=True, eq=False)
class Encoder:
    """Features and context of a table, to tensors and back.

    >>> table = pa.table({"x": [1.0, 2.0, 4.0, None], "day": ["mon", "tue", "mon", "mon"]})
    >>> encoder = Encoder.fit(
    ...     {"x": NumberSettings("standard")},
    ...     {"day": ContextSettings("category")},
    ...     table.to_batches(),
    ...     seed=0,
    ... )
    >>> encoded = encoder.encode(table.to_batches()[0])
    >>> encoded.observed[:, 0].tolist(), encoded.codes[:, 0].tolist()
    ([True, True, True, False], [2, 3, 2, 2])
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
        return {item.name: item.number.step for item in self.features if item.number.step is not None}

    # -- fit -------------------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls,
        features: Mapping[str, NumberSettings],
        context: Mapping[str, ContextSettings],
        chunks: Iterable[pa.RecordBatch],
        *,
        seed: int,
    ) -> Encoder:
        """Learn every column in one pass over `chunks`; the result does not depend on how the stream is cut.

        A feature that is constant or never observed is dropped with a notice, so is such a context column.
        Raises `SchemaError` when a column is missing or of another type than its kind, `SourceError` when
        there is no row, `InputError` when no feature is left.
        """
        numbers = {name: NumberFit(name, seed=seed) for name in features}
        contexts: dict[str, NumericFit | CategoryFit] = {}
        for name, settings in context.items():
            column = settings.column or name
            if settings.kind == "category":
                contexts[name] = CategoryFit(name, column, max_levels=settings.max_levels)
            else:
                contexts[name] = NumericFit(name, column, settings, seed=seed)
        rows = 0
        for chunk in chunks:
            rows += len(chunk)
            for name, settings_ in features.items():
                column = settings_.column or name
                numbers[name].update(read_numbers(_column(chunk, column), column=column))
            for fit in contexts.values():
                fit.update(_column(chunk, fit.column))
        if not rows:
            raise SourceError("there are no records to learn the columns from")
        notices: list[str] = []
        fitted = []
        for name, number in numbers.items():
            number.finish()
            if not number.observed:
                notices.append(f"feature {name} was dropped: it has no value in any record")
            elif number.constant:
                notices.append(f"feature {name} was dropped: it has one value in every record")
            else:
                column = features[name].column or name
                learned = number.number(features[name].front, notices)
                fitted.append(Feature(name, column, number.missing, learned))
        if not fitted:
            raise InputError(
                f"no feature is left to model: {', '.join(features) or 'none is given'}; "
                "each is constant or never observed in the training records"
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

        With `dither` (training only) features on a lattice get uniform noise of one step, so that a density
        does not learn spikes. Raises `SchemaError` when a column is missing or of another type.
        """
        n, d = len(batch), len(self.features)
        x, log_det = np.zeros((n, d)), np.zeros((n, d))
        observed = np.zeros((n, d), dtype=bool)
        context = np.zeros((n, self.context_width))
        codes = np.zeros((n, len(self.categories)), dtype=np.int64)
        infinite: list[tuple[str, NDArray[np.bool_]]] = []
        for i, feature in enumerate(self.features):
            raw = read_numbers(_column(batch, feature.column), column=feature.column)
            values = feature.number.dithered(raw, dither)
            finite = np.isfinite(raw)
            if finite.all():
                observed[:, i] = True
                x[:, i], log_det[:, i] = feature.number.front.forward(values)
                continue
            observed[:, i] = finite
            x[finite, i], log_det[finite, i] = feature.number.front.forward(values[finite])
            infinite.append((f"{feature.column} is infinite", np.isinf(raw)))
        start = 0
        for column in self.numeric:
            out = context[:, start : start + column.width]
            start += column.width
            odd = column.encode(_column(batch, column.column), out)
            if odd is not None:
                why = "is neither 0 nor 1" if column.kind == "boolean" else "is infinite"
                infinite.append((f"{column.column} {why}", odd))
        for i, category in enumerate(self.categories):
            codes[:, i] = category.codes(_column(batch, category.column))
        return Encoded(x, observed, log_det, context, codes, reasons(infinite, n))

    def decode(self, name: str, x: Array) -> Array:
        """A feature's encoded values in the user's units, same shape; never infinite (`Front.inverse`)."""
        for feature in self.features:
            if feature.name == name:
                return feature.number.front.inverse(np.asarray(x, dtype=np.float64))
        raise KeyError(f"{name} is not a feature of this encoder; it has {', '.join(self.feature_names)}")

    # -- on disk ---------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; `from_dict` of it encodes to the same bits."""
        return {
            "version": VERSION,
            "rows": self.rows,
            "features": [
                {"name": item.name, "column": item.column, "missing": item.missing, **item.number.to_dict()}
                for item in self.features
            ],
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
            features=[
                Feature(item["name"], item["column"], item["missing"], Number.from_dict(item))
                for item in state["features"]
            ],
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
