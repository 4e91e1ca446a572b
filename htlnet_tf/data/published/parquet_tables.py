"""Reads the Parquet files of published data sets, naming file, column, row and value of whatever is wrong in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from htlnet_tf.data.published.tables import require, require_header
from htlnet_tf.errors import InputError


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


_FITS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    "int64": (pa.types.is_integer, "integers"),
    "float64": (lambda type_: pa.types.is_floating(type_) or pa.types.is_integer(type_), "numbers"),
    "string": (_is_text, "text"),
    "timestamp": (lambda type_: pa.types.is_timestamp(type_) and type_.tz is None, "times without a time zone"),
}


def read_parquet_table(
    path: Path,
    columns: Mapping[str, str],
    *,
    key: str | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """Reads the given columns of a Parquet file, and checks every value.

    Args:
      path: The file.
      columns: By column name: `"int64"`, an integer in every row; `"float64"`, a finite number in every row;
        `"timestamp"`, a time without a time zone in every row, becomes datetime64[s]; `"string"`, missing where null.
      key: A column whose values must be unique.
      bounds: By column name, the interval (inclusive) in which the values must lie.

    Returns:
      The columns, in the order of `columns`; index 0 .. n-1.

    Raises:
      InputError: The file cannot be read, a column is missing or of another type, or a value breaks a rule.
    """
    try:
        with pq.ParquetFile(path) as file:
            types = {field.name: field.type for field in file.schema_arrow}
            require_header(path, file.schema_arrow.names, columns)
            for name, dtype in columns.items():
                fits, what = _FITS[dtype]
                if not fits(types[name]):
                    raise InputError(f"{path.name}: column '{name}' must hold {what}, but its type is {types[name]}")
            read = file.read(columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} cannot be read as Parquet and may be truncated or garbled: {error}") from error
    if read.num_rows == 0:
        raise InputError(f"{path.name}: at least one row is needed; '{path}' has none")
    table = pd.DataFrame({name: _typed(read[name], name, dtype, path.name) for name, dtype in columns.items()})
    for name, (low, high) in (bounds or {}).items():
        good = table[name].between(low, high)
        require(good, table[name], path.name, f"must lie in [{low}, {high}]", first_line=None)
    if key is not None:
        require(~table.duplicated(key), table[key], path.name, "must be unique", first_line=None)
    return table


def _typed(column: pa.ChunkedArray, name: str, dtype: str, file: str) -> pd.Series[Any]:
    if dtype == "string":
        return pd.Series(column.cast(pa.string()).to_pandas(), name=name)
    values = pd.Series(column.to_pandas(), name=name)
    rule = "must be there in every row"
    good = values.notna()
    if dtype == "float64":
        rule = "must be a finite number"
        good &= np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
    require(good, values, file, rule, first_line=None)
    return values.astype("datetime64[s]" if dtype == "timestamp" else dtype)  # type: ignore[call-overload,no-any-return]
