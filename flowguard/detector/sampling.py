"""Records drawn from a fitted detector, as a table in the user's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from flowguard.density import DiscretePart, KernelDensity, RecordDensity
from flowguard.density.kernel_sample import known_shares, pick, sample_kernel, unknown
from flowguard.detector.detector import Detector
from flowguard.detector.evaluate import sealed_threads
from flowguard.encoding import Encoded
from flowguard.encoding.continuous import NumberFeature
from flowguard.encoding.feature import Feature
from flowguard.encoding.integer import IntegerFeature
from flowguard.errors import InputError
from flowguard.tables.arrow import conform

_ROWS = 4096
"""Records drawn at once."""

Drawn = tuple[Tensor, np.ndarray]
"""Codes `(n, d)`, and `(n, d)` the values of numbers and integers in the user's units, for where the code is 0."""

Draw = Callable[[Detector, Tensor, Tensor, torch.Generator], Drawn]


def sample(
    detector: Detector, n: int, *, batch: pa.RecordBatch | None = None, generator: torch.Generator
) -> pd.DataFrame:
    """n independent records with the columns the detector reads, in their order, from p(features | context).

    `batch` holds the context, row i that of record i (see `context_batch`), and comes back in the table. Categories are
    their levels, integers points of their lattice, numbers continuous (whole where the column's type is), and what is
    missing is NaN or None; so is a column without any value at the fit. Where no value was missing at the fit a missing
    one is improbable, not impossible; a column of whole numbers with one in it is float64, as ever in pandas. A level
    that the fit never saw, or a number off the lattice, has a probability but no value: it is drawn among what has.

    Errors: InputError for n below 1, where there is context and no batch, and for rows that cannot be conditioned on.

    Example:
        >>> from flowguard import FlowDetector
        >>> X = np.random.default_rng(0).normal(5.0, 1.0, size=(300, 2))
        >>> fitted = FlowDetector(training={"epochs": 1}, false_alarm_rate=0.1, random_state=0).fit(X)
        >>> drawn = sample(fitted.detector_, 100, generator=torch.Generator().manual_seed(0))
        >>> list(drawn), bool(abs(drawn["x0"].mean() - 5.0) < 0.5)
        (['x0', 'x1'], True)
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise InputError(f"n is how many records are drawn, a whole number of at least 1, not {n!r}.")
    needed = _context_columns(detector)
    if batch is None and needed:
        raise InputError(
            f"The records of this detector depend on context: give a table with {', '.join(needed)}, a row per record."
        )
    if batch is not None and len(batch) != n:
        raise InputError(f"The context has {len(batch)} rows for {n} records; give one row per record.")
    dtype = getattr(torch, detector.engine.dtype)
    context, levels = torch.zeros(n, 0, dtype=dtype), torch.zeros(n, 0, dtype=torch.long)
    if batch is not None and needed:
        encoded = _encode(detector, batch)
        context, levels = torch.from_numpy(encoded.context).to(dtype), torch.from_numpy(encoded.levels)
    with sealed_threads(detector.engine.threads), torch.no_grad():
        # Dropout of levels would draw from another density.
        detector.density.eval()
        parts = [_drawn(detector, context[rows], levels[rows], generator) for rows in torch.arange(n).split(_ROWS)]
    codes, values = torch.cat([one for one, _ in parts]).numpy(), np.concatenate([one for _, one in parts])
    return _table(detector, codes, values, batch)


def seeded(state: np.random.RandomState) -> torch.Generator:
    """A generator of torch that goes on from one of NumPy."""
    return torch.Generator().manual_seed(int(state.randint(2**31 - 1)))


def context_batch(detector: Detector, context: Any) -> pa.RecordBatch | None:
    """The context columns of a pandas or Arrow table, of a dict of columns or of an array, as `sample` takes them.

    Columns of an array are the context columns in the order of the fit, or all columns; features are left out. None
    for None. Errors: InputError where a column is missing, of another type or not to be told by its place.
    """
    if context is None:
        return None
    if isinstance(context, pa.Table | pa.RecordBatch):
        context = context.to_pandas(types_mapper=pd.ArrowDtype)
    needed = _context_columns(detector)
    if isinstance(context, pd.DataFrame | pd.Series | Mapping):
        frame = pd.DataFrame(context).rename(columns=str)
    else:
        array = np.asarray(context)
        names = {len(detector.columns): list(detector.columns), len(needed): needed}
        if array.ndim != 2 or array.shape[1] not in names:
            raise InputError(
                f"The context has shape {array.shape}; expected a row per record and {len(needed)} columns "
                f"({', '.join(needed) or 'this detector has no context'})."
            )
        frame = pd.DataFrame(array, columns=names[array.shape[1]]).infer_objects()
    features = {feature.column for feature in detector.encoder.features} - set(needed)
    kept = [name for name in detector.columns if name in frame.columns and name not in features]
    if not kept and not needed:
        raise InputError("A context was given, and this detector has none: leave `context` out.")
    return conform(frame[kept], {name: detector.columns[name] for name in needed})


def _context_columns(detector: Detector) -> list[str]:
    """The raw columns that the density is conditioned on, in the order of the table."""
    encoder = detector.encoder
    used = {column.column for column in encoder.numeric} | {category.column for category in encoder.categories}
    return [name for name in detector.columns if name in used]


def _encode(detector: Detector, batch: pa.RecordBatch) -> Encoded:
    """The context of each record, encoded beside features that are not there yet."""
    needed = _context_columns(detector)
    missing = [name for name in needed if name not in batch.schema.names]
    if missing:
        raise InputError(f"The context lacks column {missing[0]!r}; needed are {', '.join(needed)}.")
    arrays = [batch.column(name) if name in needed else pa.nulls(len(batch)) for name in detector.encoder.columns]
    encoded = detector.encode(pa.RecordBatch.from_arrays(arrays, names=detector.encoder.columns))
    for row, why in enumerate(encoded.refused):
        if why is not None:
            raise InputError(f"Row {row} of the context cannot be conditioned on: {why}.")
    return encoded


# -- what is drawn ---------------------------------------------------------------------------------------------------


def _drawn(detector: Detector, context: Tensor, levels: Tensor, generator: torch.Generator) -> Drawn:
    """A record per row: first which expert it is from, then the record."""
    experts = detector.density.experts
    if experts is None:
        return _of_flow(detector, context, levels, generator)
    each: list[Draw] = [_of_flow, *(partial(_of_kernel, kernel) for kernel in experts.every_kernel()), _alone]
    expert = pick(experts.log_weight.double().exp(), len(context), generator=generator)
    codes = torch.zeros(len(context), detector.density.features, dtype=torch.long)
    values = np.zeros(codes.shape)
    for place, draw in enumerate(each):
        rows = (expert == place).nonzero().squeeze(-1)
        if len(rows):
            codes[rows], values[rows.numpy()] = draw(detector, context[rows], levels[rows], generator)
    return codes, values


def _of_flow(detector: Detector, context: Tensor, levels: Tensor, generator: torch.Generator) -> Drawn:
    integers = _integers(detector)
    points = torch.zeros(len(context), len(integers), dtype=context.dtype)

    def lattice(place: int, point: Tensor) -> tuple[Tensor, Tensor]:
        points[:, place] = point
        lower, log_width = integers[place].cell(integers[place].decode(point.double().numpy()))
        return torch.from_numpy(lower).to(point.dtype), torch.from_numpy(log_width).to(point.dtype)

    inputs = _known_only(detector.density).sample(context, levels, lattice=lattice, generator=generator)
    return inputs.codes, _in_units(detector, torch.cat((inputs.x, points), -1))


def _of_kernel(
    kernel: KernelDensity, detector: Detector, context: Tensor, levels: Tensor, generator: torch.Generator
) -> Drawn:
    codes, values = sample_kernel(kernel, context, levels, generator=generator)
    return codes, _in_units(detector, values, numbers=kernel.scale, integers="line")


def _alone(detector: Detector, context: Tensor, levels: Tensor, generator: torch.Generator) -> Drawn:
    """Every column by itself (`Marginal`): codes by their frequencies, normal values on the axis of the front."""
    columns, n = detector.density.discrete.columns, len(context)
    codes = torch.stack([pick(known_shares(column), n, generator=generator) for column in columns], -1)
    valued = sum(column.kind != "category" for column in columns)
    return codes, _in_units(detector, torch.randn(n, valued, dtype=torch.float64, generator=generator))


class _KnownOnly(DiscretePart):
    """A discrete part in which codes that stand for no single value have no probability, and the others all of it."""

    def code_log_probs(self, *args: Tensor, column: int) -> Tensor:
        found = super().code_log_probs(*args, column=column)
        barred = unknown(self.columns[column])
        if barred is None:
            return found
        at = torch.arange(found.shape[1]) == barred
        return torch.log_softmax(found.masked_fill(at, -torch.inf), -1)


def _known_only(density: RecordDensity) -> RecordDensity:
    """The density with the same weights that draws no such code; what comes after sees what was drawn instead."""
    part, whole = copy(density.discrete), copy(density)
    # A copy shares its weights with the original, which others may be scoring with: nothing in that is touched.
    part.__class__ = _KnownOnly
    whole._modules = {**density._modules, "discrete": part}
    return whole


# -- in the user's units ---------------------------------------------------------------------------------------------


def _integers(detector: Detector) -> list[IntegerFeature]:
    return [cast(IntegerFeature, feature) for feature in detector.encoder.features if feature.kind == "integer"]


def _in_units(detector: Detector, values: Tensor, *, numbers: str = "front", integers: str = "front") -> np.ndarray:
    """Values of numbers and then integers `(n, m + j)` on their scales, in the user's units by feature `(n, d)`."""
    features = detector.encoder.features
    found, place = np.zeros((len(values), len(features))), 0
    arrays = np.ascontiguousarray(values.double().numpy().T)
    for i, feature in enumerate(features):
        if isinstance(feature, NumberFeature):
            line = feature.number.line
            found[:, i] = feature.decode(arrays[place]) if numbers == "front" else line.inverse(arrays[place])
            place += 1
    for i, feature in enumerate(features):
        if isinstance(feature, IntegerFeature):
            straight = arrays[place] * feature.scale + feature.center
            found[:, i] = feature.decode(arrays[place]) if integers == "front" else feature.lattice.nearest(straight)
            place += 1
    return found


def _table(detector: Detector, codes: np.ndarray, values: np.ndarray, batch: pa.RecordBatch | None) -> pd.DataFrame:
    """The columns of the detector: features as drawn, context as given, and what it knows nothing of missing."""
    found = {} if batch is None else {name: batch.column(name).to_pandas() for name in batch.schema.names}
    for i, feature in enumerate(detector.encoder.features):
        found[feature.column] = _column(feature, detector.columns[feature.column], codes[:, i], values[:, i])
    nothing = [None] * len(codes)
    return pd.DataFrame(
        {name: found[name] if name in found else _typed(nothing, text) for name, text in detector.columns.items()}
    )


def _column(feature: Feature, text: str, codes: np.ndarray, values: np.ndarray) -> Any:
    stands = np.array([feature.level_of(code) for code in range(len(feature.counts))], dtype=object)[codes]
    if feature.kind != "category":
        return _typed(np.where(codes == 0, values, stands.astype(np.float64)), text)
    if text.startswith("dictionary"):
        known = sorted(feature.level_of(code) for code in range(2, len(feature.counts)))  # type: ignore[type-var]
        return pd.Categorical(stands, categories=known)
    return _typed(stands, text)


def _typed(values: Any, text: str) -> pd.Series:
    """Values as the Arrow type of their column, in pandas; as they are where that cannot hold them."""
    try:
        wanted = pa.type_for_alias(text)
    except ValueError:
        wanted = None
    if wanted is not None and pa.types.is_integer(wanted) and getattr(values, "dtype", None) == np.float64:
        values = np.rint(values)
    array = pa.array(values, from_pandas=True)
    with suppress(pa.ArrowInvalid):
        array = array if wanted is None else array.cast(wanted)
    return array.to_pandas()
