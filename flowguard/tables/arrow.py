"""pandas tables as the record batches that a version was fitted on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from flowguard.errors import SchemaError


def conform(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.RecordBatch:
    """`frame` as one record batch, the `columns` (name -> Arrow type as text) converted to their types.

    Other columns are left as they are. Raises `SchemaError` naming the column that is missing or does not fit.

    >>> conform(pd.DataFrame({"x": [1, 2]}), {"x": "double"}).schema.field("x").type
    DataType(double)
    """
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise SchemaError(
            f"The table lacks column {missing[0]!r}, which this version reads; it has "
            f"{', '.join(map(str, frame.columns))}. "
            f"Needed are: {', '.join(columns)}."
        )
    arrays, names = [], []
    for name in frame.columns:
        try:
            array = pa.Array.from_pandas(frame[name])
            if name in columns:
                array = _cast(array, columns[name])
        except (pa.ArrowException, TypeError, ValueError) as error:
            if name not in columns:
                continue
            raise SchemaError(
                f"Column {name!r} of the table is {frame[name].dtype}; this version expects {columns[name]} ({error})."
            ) from None
        arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
        names.append(str(name))
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _cast(array: pa.Array, text: str) -> pa.Array:
    try:
        wanted = pa.type_for_alias(text)
    except ValueError:
        # Types without a short name (timestamps with zones, decimals): the encoder reads them as they come.
        return array
    return array if array.type == wanted else array.cast(wanted)
