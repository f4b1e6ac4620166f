"""What the scikit-learn face is given, as one table with a kind for every column."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_array, validate_data

from flowguard.encoding.settings import FeatureKind
from flowguard.errors import InputError
from flowguard.tables.infer import whole_kind
from flowguard.tables.profile import ColumnMeter


def frame_of(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:
    """X as a pandas table with column names x0, x1, .. where it has none.

    Sets (`reset`) or checks `n_features_in_` and `feature_names_in_` of the estimator, as scikit-learn does. Missing
    and infinite values stay. Errors: ValueError as of scikit-learn for what is no table of two dimensions.
    """
    if isinstance(X, pa.Table | pa.RecordBatch):
        X = X.to_pandas(types_mapper=pd.ArrowDtype)
    if not isinstance(X, pd.DataFrame):
        X = check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)
    elif not len(X) or not len(X.columns):
        raise InputError(f"The table has shape {X.shape}: 0 sample(s) or 0 feature(s), and at least 1 is required.")
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if isinstance(X, pd.DataFrame):
        return X.rename(columns=str)
    return pd.DataFrame(X, columns=[f"x{place}" for place in range(X.shape[1])]).infer_objects()


def names_of(frame: pd.DataFrame, given: Sequence[str | int]) -> list[str]:
    """Columns named, or numbered from 0; InputError for one that is not there."""
    names = list(frame.columns)
    found = []
    for one in given:
        name = names[one] if isinstance(one, int) and -len(names) <= one < len(names) else str(one)
        if name not in names:
            raise InputError(f"Column {one!r} is not in the table; it has {', '.join(names[:20])}.")
        found.append(name)
    return found


def kinds_of(table: pa.Table, *, categories: Collection[str] = ()) -> dict[str, FeatureKind]:
    """The kind of each column: text and booleans are categories, floats numbers, whole numbers by `whole_kind`.

    Errors: InputError for a column that is none of these, such as a date.
    """
    kinds: dict[str, FeatureKind] = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if name in categories or pa.types.is_boolean(kind) or _is_text(kind):
            kinds[name] = "category"
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
            kinds[name] = "number"
        elif pa.types.is_integer(kind):
            meter = ColumnMeter(name, column.type)
            for chunk in column.chunks:
                meter.update(chunk)
            kinds[name] = whole_kind(meter.seen())[0]
        else:
            raise InputError(
                f"Column {name!r} holds {kind}; expected numbers, text or booleans. Turn a date into numbers, such as "
                "the hour, or leave the column out."
            )
    return kinds


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
