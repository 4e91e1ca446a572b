"""A table's columns as the arrays the model's graph takes: one rule for every dtype that pandas can hold.

The raw form of a column is what a request to the exported model carries: `string`, `int64` or `float32` of shape [N].
JSON and TensorFlow have no null for the first two, so missing values have a fixed code in each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError, RowError
from htlnet_tf.features import CategoricalDtype
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Numeric, Schema

MISSING_STRING = ""
MISSING_INT64 = -(2**63)
MISSING_FLOAT = float("nan")

Arrays = dict[str, np.ndarray]


def require_columns(frame: pd.DataFrame, names: Iterable[str], *, purpose: str) -> None:
    """Checks that a frame is not empty and has the columns.

    Raises:
      InputError: `frame` is no DataFrame, has no rows, or lacks a column, or has it twice; names the column.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{purpose}: a pandas DataFrame is needed, received {type(frame).__name__}")
    for name in names:
        count = int((frame.columns == name).sum())
        if count == 0:
            raise InputError(f"{purpose}: column '{name}' is missing; the frame has {_shortened(list(frame.columns))}")
        if count > 1:
            raise InputError(f"{purpose}: column '{name}' appears {count} times in the frame")
    if len(frame) == 0:
        raise InputError(f"{purpose}: the frame has no rows")


def raw_features(frame: pd.DataFrame, schema: Schema) -> Arrays:
    """The features of a frame in raw form.

    Args:
      frame: One row per impression; further columns are ignored.
      schema: Its categorical features have their dtype (`FeatureEncoder.schema` has).

    Returns:
      By feature name, arrays of shape [N]: object arrays of `str`, int64, or float32.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow; names column, row and value.
    """
    require_columns(frame, (f.name for f in schema.features), purpose="features")
    arrays: Arrays = {}
    for feature in schema.features:
        column = frame[feature.name]
        if isinstance(feature, Numeric):
            arrays[feature.name] = numeric_values(column, feature).astype(np.float32)
        elif (feature.dtype or categorical_dtype(column, feature)) == "int64":
            arrays[feature.name] = int64_values(column, feature)
        else:
            arrays[feature.name] = string_values(column, feature)
    return arrays


def categorical_dtype(column: pd.Series, feature: Categorical) -> CategoricalDtype:
    """The raw type of a categorical column: `int64` for whole numbers and booleans, else `string`.

    Raises:
      InputError: The column's values are neither strings nor whole numbers.
    """
    if feature.dtype is not None:
        return feature.dtype
    if feature.separator is not None:
        return "string"
    column = _plain(column)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        return "int64"
    if pd.api.types.is_float_dtype(column):
        # pandas turns whole numbers with gaps into floats; anything else is not a set of discrete values.
        refuse(
            column,
            ~_whole(_float64(column)) & column.notna().to_numpy(),
            rule="a categorical column of numbers must hold whole numbers; declare it Numeric or convert it to strings",
        )
        return "int64"
    values = column.dropna()
    if len(values) and all(isinstance(v, (bool, int, np.integer, np.bool_)) for v in values):
        return "int64"
    return "string"


def int64_values(column: pd.Series, feature: Categorical) -> np.ndarray:
    """A categorical column as int64 [N]; missing values become -2**63.

    Raises:
      InputError: A value is not a whole number in the int64 range.
    """
    column = _plain(column)
    missing = column.isna().to_numpy()
    rule = f"feature '{feature.name}' was declared or fitted as int64, so its values must be whole numbers"
    if pd.api.types.is_unsigned_integer_dtype(column):
        refuse(column, (column > np.iinfo(np.int64).max).fillna(False).to_numpy(bool), rule=rule)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        values = column.fillna(0).astype(np.int64).to_numpy() if missing.any() else column.to_numpy(np.int64)
    elif pd.api.types.is_float_dtype(column):
        floats = _float64(column)
        refuse(column, ~(_whole(floats) & (np.abs(floats) <= 2.0**53)) & ~missing, rule=rule)
        values = np.where(missing, 0.0, floats).astype(np.int64)
    else:
        in_range = [_is_int64(v) for v in column]
        refuse(column, ~np.asarray(in_range, bool) & ~missing, rule=rule)
        values = np.asarray([0 if gap else int(v) for v, gap in zip(column, missing, strict=True)], np.int64)
    return np.where(missing, MISSING_INT64, values)


def string_values(column: pd.Series, feature: Categorical) -> np.ndarray:
    """A categorical column as an object array [N] of `str`; missing values become the empty string.

    Whole numbers become their decimal text (`1.0` in a column with gaps becomes `"1"`).

    Raises:
      InputError: A value is neither a string nor a whole number.
    """
    column = _plain(column)
    missing = column.isna().to_numpy()
    values = column.to_numpy(object)
    if not all(isinstance(v, str) for v in values[~missing]):
        rule = f"feature '{feature.name}' holds strings, so its values must be strings or whole numbers"
        texts = [None if gap else _text(v) for v, gap in zip(values, missing, strict=True)]
        refuse(column, np.asarray([t is None for t in texts], bool) & ~missing, rule=rule)
        values = np.asarray(texts, object)
    return np.where(missing, MISSING_STRING, values)


def numeric_values(column: pd.Series, feature: Numeric) -> np.ndarray:
    """A numeric column as float64 [N]; missing values become NaN.

    Raises:
      InputError: A value is not a number, or infinite, or negative where the feature has `log1p`.
    """
    values = numbers(column, rule=f"feature '{feature.name}' is numeric")
    refuse(column, _beyond_float32(values), rule=f"feature '{feature.name}' is numeric and must be finite in float32")
    values = np.where(np.isin(values, feature.missing_values), np.nan, values)
    if feature.log1p:
        refuse(column, values < 0, rule=f"feature '{feature.name}' has log1p, so it must not be negative")
    return values


def target_values(frame: pd.DataFrame, schema: Schema) -> Arrays:
    """The targets of a frame, checked.

    Returns:
      By target name, arrays of shape [N]: float32 for `Binary`, int32 for `Multiclass`, float64 for the core target, in
      its own unit.

    Raises:
      InputError: A column is missing or a value is NaN, outside {0, 1}, no class, infinite, or a negative amount where
        that is impossible; names column, row and value.
    """
    require_columns(frame, (t.name for t in schema.targets), purpose="targets")
    return {target.name: _labels(frame[target.name], target) for target in schema.targets}


def _labels(column: pd.Series, target: Binary | Multiclass | Continuous) -> np.ndarray:
    values = numbers(column, rule=f"target '{target.name}' must be a number")
    refuse(column, np.isnan(values), rule=f"target '{target.name}' must not be missing")
    if isinstance(target, Binary):
        refuse(column, (values != 0) & (values != 1), rule=f"target '{target.name}' is binary: 0 or 1")
        return values.astype(np.float32)
    if isinstance(target, Multiclass):
        known = (values >= 0) & (values < target.num_classes) & _whole(values)
        refuse(column, ~known, rule=f"target '{target.name}' is a class in 0 .. {target.num_classes - 1}")
        return values.astype(np.int32)
    refuse(column, _beyond_float32(values), rule=f"target '{target.name}' must be finite in float32")
    if target.non_negative:
        rule = f"target '{target.name}' must not be negative (declare non_negative=False if it can be)"
        refuse(column, values < 0, rule=rule)
    return values


def numbers(column: pd.Series, *, rule: str) -> np.ndarray:
    """A column as float64 [N], NaN where it is missing; text is parsed.

    Raises:
      InputError: A value is not a number, or the column holds times.
    """
    column = _plain(column)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return _float64(column)
    if column.dtype.kind in "mM":  # pandas would turn these into nanoseconds without a word
        raise InputError(f"column '{column.name}': {rule}; received {column.dtype}")
    parsed = pd.to_numeric(column, errors="coerce")
    refuse(column, parsed.isna().to_numpy() & column.notna().to_numpy(), rule=rule)
    return _float64(parsed)


def _beyond_float32(values: np.ndarray) -> np.ndarray:
    return np.abs(values) > np.finfo(np.float32).max


def _whole(values: np.ndarray) -> np.ndarray:
    return np.isfinite(values) & (np.floor(values) == values)


def _float64(column: pd.Series) -> np.ndarray:
    return column.to_numpy(np.float64, na_value=np.nan)


def _plain(column: pd.Series) -> pd.Series:
    """Without the wrapping of pandas' categories; object values hold gaps that their dtype may not."""
    return column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _is_int64(value: Any) -> bool:
    # Text such as "007" is another value than 7, so only numbers are taken.
    if isinstance(value, (bool, int, np.integer, np.bool_)):
        return -(2**63) <= int(value) < 2**63
    return isinstance(value, (float, np.floating)) and float(value).is_integer()


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(int(value)) if _is_int64(value) else None


def refuse(column: pd.Series, offends: np.ndarray, *, rule: str) -> None:
    """Raises for the rows of a column that break a rule.

    Args:
      column: The column, for its name, index and values.
      offends: bool [N], the rows that break the rule.
      rule: What the column must be.

    Raises:
      RowError: There is such a row; names the column, the rule, and the first row with its value.
    """
    if offends.any():
        row = int(np.argmax(offends))
        count = int(offends.sum())
        value = column.iloc[row]
        place = f"column '{column.name}', row {row} (index {column.index[row]})"
        more = f" (and {count - 1} more such rows)" if count > 1 else ""
        raise RowError(
            f"{place}: {rule}; received {_shown(value)}{more}",
            column=str(column.name),
            rows=offends,
            rule=rule,
            value=value,
        )


def _shown(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _shortened(names: list[Any], limit: int = 12) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return f"[{shown}, ... {len(names) - limit} more]" if len(names) > limit else f"[{shown}]"
