"""A frame's feature columns in raw form, each distinct value looked at once."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Hashable
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.data import timestamps
from htlnet_tf.data.columns import (
    MISSING_INT64,
    MISSING_STRING,
    Arrays,
    beyond_float32,
    normal_float32,
    numbers,
    plain,
    refuse,
    require_columns,
    unwrapped,
    whole,
)
from htlnet_tf.data.values import fits_int64, is_missing, text, whole_number
from htlnet_tf.schema import Categorical, Numeric, Schema, Timestamp
from htlnet_tf.schema.features import CategoricalDtype


class Distinct(NamedTuple):
    """A column as its distinct values: what costs per value is done once for each, however often it occurs.

    Attributes:
      codes: intp [N], each row's position in `values`.
      values: [K], raw values: an object array of `str`, or int64.
    """

    codes: np.ndarray
    values: np.ndarray


def raw_features(frame: pd.DataFrame, schema: Schema, *, only: Collection[str] | None = None) -> Arrays:
    """The features of a frame in raw form.

    Args:
      frame: One row per impression; further columns are ignored.
      schema: Its categorical features have their dtype (`FeatureEncoder.schema` has).
      only: Names of the features that are wanted; None: all.

    Returns:
      By feature name, arrays of shape [N]: object arrays of `str`, int64, or float32.

    Raises:
      InputError: A column is missing or holds a value its kind does not allow; names column, row and value.
    """
    features = [f for f in schema.inputs if only is None or f.name in only]
    require_columns(frame, (f.source for f in features), purpose="features")
    arrays: Arrays = {}
    for feature in features:
        column = frame[feature.source]
        if isinstance(feature, Categorical):
            codes, values = distinct_values(column, feature)
            arrays[feature.name] = values[codes]
        else:
            arrays[feature.name] = raw_numbers(column, feature, decimal=schema.decimal)
    return arrays


def raw_numbers(column: pd.Series, feature: Numeric | Timestamp, *, decimal: str = ".") -> np.ndarray:
    """A feature without vocabulary in raw form: float32 [N] of a `Numeric`, int64 [N] of a `Timestamp`; `decimal` is
    the mark of numbers as text if the feature declares none.

    Raises:
      RowError: A value is not allowed.
    """
    if isinstance(feature, Timestamp):
        return time_values(column, feature)
    return numeric_values(column, feature, decimal=decimal).astype(np.float32)


def distinct_values(column: pd.Series, feature: Categorical) -> Distinct:
    """A categorical column in raw form, by its distinct values.

    Missing values become -2**63 or the empty string. In a text column whole numbers become their decimal text (`1.0` in
    a column with gaps becomes `"1"`), and a list becomes its values joined by the feature's separator.

    Raises:
      RowError: A value is not of the feature's dtype, or a listed value has the separator in it.
    """
    column = unwrapped(column)
    if feature.separator is not None:
        column = _joined(column, feature, feature.separator)
    dtype = feature.dtype or categorical_dtype(column, feature)
    codes, values = _factorized(column)
    if dtype == "int64":
        raw, offends = _int64(values)
        if offends.any():
            too_large = np.asarray([bad and _is_too_large(v) for v, bad in zip(values, offends, strict=True)], bool)
            rule = f"feature '{feature.name}' has whole numbers beyond int64 (floats: beyond 2**53); write them as text"
            refuse(column, np.append(too_large, False)[codes], rule=rule)
        rule = f"feature '{feature.name}' was declared or fitted as int64, so its values must be whole numbers"
        missing: Any = np.int64(MISSING_INT64)
    else:
        raw, offends = _strings(values)
        rule = f"feature '{feature.name}' holds strings, so its values must be strings or whole numbers"
        missing = MISSING_STRING
    # The last value stands for the missing ones, whose code is -1.
    refuse(column, np.append(offends, False)[codes], rule=rule)
    extended = np.empty(len(raw) + 1, raw.dtype)
    extended[:-1], extended[-1] = raw, missing
    return Distinct(np.where(codes < 0, len(raw), codes), extended)


def categorical_dtype(column: pd.Series, feature: Categorical) -> CategoricalDtype:
    """The raw type of a categorical column: `int64` for whole numbers and booleans, else `string`.

    Raises:
      RowError: The column's values are neither strings nor whole numbers.
    """
    if feature.dtype is not None:
        return feature.dtype
    if feature.separator is not None:
        return "string"
    codes, values = _factorized(unwrapped(column))
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("integer", "boolean"):
        return "int64"
    if kind == "floating":
        # pandas turns whole numbers with gaps into floats; anything else is not a set of discrete values.
        fraction = ~whole(values.to_numpy(np.float64))
    elif len(values) and all(isinstance(v, (Number, np.bool_)) for v in values):
        fraction = np.asarray([whole_number(v) is None for v in values], bool)
    else:
        return "string"
    rule = "a categorical column of numbers must hold whole numbers; declare it Numeric or convert it to strings"
    refuse(column, np.append(fraction, False)[codes], rule=rule)
    return "int64"


def missing_codes(feature: Categorical) -> tuple[int | str, ...]:
    """Raw values of a categorical feature that stand for "missing": the type's own code, then the declared ones."""
    if feature.dtype == "int64":
        return (MISSING_INT64, *(int(v) for v in feature.missing_values))
    return (MISSING_STRING, *(str(v) for v in feature.missing_values))


def _factorized(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Codes, -1 where missing, and the distinct values that occur."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        # A slice keeps all categories of the whole.
        codes, used = pd.factorize(column.cat.codes.to_numpy())
        values = column.cat.categories[used[used >= 0]]
        gap = np.flatnonzero(used < 0)
        if len(gap):
            codes = np.where(codes == gap[0], -1, np.where(codes > gap[0], codes - 1, codes))
        return codes, values
    try:
        codes, distinct = pd.factorize(column)
    except TypeError:
        offends = np.asarray([not isinstance(v, Hashable) for v in column], bool)
        refuse(column, offends, rule="values must be strings or numbers; for lists declare a separator")
        raise
    return codes, pd.Index(distinct)


def _int64(values: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values as int64 [K] (0 where that cannot be), and which of them cannot be."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return values.to_numpy(bool).astype(np.int64), np.zeros(len(values), bool)
    if pd.api.types.is_integer_dtype(values.dtype):
        unsigned = pd.api.types.is_unsigned_integer_dtype(values.dtype)
        offends = (values.to_numpy(np.uint64) > np.iinfo(np.int64).max) if unsigned else np.zeros(len(values), bool)
        return np.where(offends, 0, values.to_numpy(np.uint64 if unsigned else np.int64)).astype(np.int64), offends
    if pd.api.types.is_float_dtype(values.dtype):
        floats = values.to_numpy(np.float64)
        offends = ~(whole(floats) & (np.abs(floats) <= 2.0**53))
        return np.where(offends, 0.0, floats).astype(np.int64), offends
    exact = [whole_number(v) for v in values]
    offends = np.asarray([not fits_int64(n) for n in exact], bool)
    return np.asarray([0 if bad else n for n, bad in zip(exact, offends, strict=True)], np.int64), offends


def _strings(values: pd.Index) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values as an object array [K] of `str` (None where that cannot be), and which of them cannot be."""
    objects = values.to_numpy(object)
    if pd.api.types.infer_dtype(objects) == "string":
        return objects, np.zeros(len(objects), bool)
    texts = np.empty(len(objects), object)
    texts[:] = [text(v) for v in objects]
    return texts, np.asarray([t is None for t in texts], bool)


def _joined(column: pd.Series, feature: Categorical, separator: str) -> pd.Series:
    """A column of lists as a column of strings; any other column as it is."""
    if column.dtype != object:
        return column
    is_list = np.asarray([isinstance(v, (list, tuple, np.ndarray)) for v in column], bool)
    if not is_list.any():
        return column
    texts: list[Any] = []
    for value, listed in zip(column, is_list, strict=True):
        tokens = [None if is_missing(v) else v if text(v) is None else text(v) for v in value] if listed else []
        texts.append([t for t in tokens if t is not None] if listed else value)
    wrong = [isinstance(t, list) and any(not isinstance(v, str) for v in t) for t in texts]
    refuse(column, np.asarray(wrong, bool), rule=f"feature '{feature.name}' lists strings or whole numbers")
    holds = [isinstance(t, list) and any(separator in v for v in t) for t in texts]
    rule = f"feature '{feature.name}' is joined by {separator!r}, which no listed value may hold; declare another one"
    refuse(column, np.asarray(holds, bool), rule=rule)
    joined = [separator.join(t) if isinstance(t, list) else t for t in texts]
    result = pd.Series(joined, index=column.index, name=column.name, dtype=object)
    result.attrs = column.attrs
    return result


def time_values(column: pd.Series, feature: Timestamp) -> np.ndarray:
    """A column of points in time as int64 [N], in the feature's unit since 1970 UTC; missing values become -2**63.

    Args:
      column: Datetimes (without a zone they are UTC), ISO 8601 strings, or whole numbers in the feature's unit, or some
        of each; or datetimes and what the feature's format says.
      feature: Says the unit and the format.

    Raises:
      RowError: A value is none of these.
    """
    column = unwrapped(column)
    if feature.format is not None and column.dtype.kind not in "mM":
        values, unreadable = timestamps.written(column, feature.format)
        refuse(column, unreadable, rule=f"feature '{feature.name}': {timestamps.format_rule(feature.format)}")
        column = pd.Series(values, column.index, name=column.name).__finalize__(column)
    column = plain(column)
    rule = (
        f"feature '{feature.name}' is a timestamp: a datetime, an ISO 8601 string, or a whole number of {feature.unit}"
    )
    inferred = pd.api.types.infer_dtype(column, skipna=True)
    if column.dtype == object and inferred in ("mixed", "mixed-integer"):  # rows of a request, each in its own way
        is_count = np.asarray([whole_number(v) is not None for v in column], bool)
        if is_count.any() and not is_count.all():
            apart = (column.where(is_count, None), column.where(~is_count, None))
            counts, others = (time_values(part.astype(object), feature) for part in apart)
            return np.where(is_count, counts, others)
        if all(isinstance(v, (str, datetime.date)) or is_missing(v) for v in column):
            inferred = "datetime"
    if column.dtype.kind not in "mM" and inferred in ("string", "datetime", "date"):
        moments = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
        # pandas takes these words for ISO 8601.
        words = column.isin(["now", "today"])
        refuse(column, ((moments.isna() & column.notna()) | words).to_numpy(bool), rule=rule)
        column = moments
    if column.dtype.kind == "M":
        moments = column if column.dt.tz is None else column.dt.tz_convert(None)
        present = moments[moments.notna()]
        bounds = [pd.Timestamp(2**63 - 1, unit="ns"), pd.Timestamp(-(2**63) + 1, unit="ns")]
        if feature.unit == "ns" and len(present) and (present.max() > bounds[0] or present.min() < bounds[1]):
            beyond = ((moments > bounds[0]) | (moments < bounds[1])).to_numpy(bool)
            refuse(column, beyond, rule=f"feature '{feature.name}' counts ns, which end in 2262; declare a larger unit")
        counts = moments.dt.as_unit(feature.unit).to_numpy().view(np.int64)
        return np.where(moments.isna().to_numpy(), MISSING_INT64, counts)
    codes, distinct = _factorized(column)
    raw, offends = _int64(distinct)
    refuse(column, np.append(offends, False)[codes], rule=rule)
    return np.append(raw, np.int64(MISSING_INT64))[np.where(codes < 0, len(raw), codes)]


def numeric_values(column: pd.Series, feature: Numeric, *, decimal: str = ".") -> np.ndarray:
    """A numeric column as float64 [N]; missing values become NaN.

    Args:
      column: Numbers, or text.
      feature: Says what they must be.
      decimal: The decimal mark of text if the feature declares none.

    Raises:
      InputError: A value is not a number, or infinite, or negative where the feature has `log1p`.
    """
    rule = f"feature '{feature.name}' is numeric"
    values = numbers(column, rule=rule, decimal=feature.decimal or decimal)
    refuse(column, beyond_float32(values), rule=f"feature '{feature.name}' is numeric and must be finite in float32")
    values = normal_float32(np.where(np.isin(values, feature.missing_values), np.nan, values))
    if feature.log1p:
        refuse(column, values < 0, rule=f"feature '{feature.name}' has log1p, so it must not be negative")
    return values


def _is_too_large(value: Any) -> bool:
    """Whether a value is a whole number, only not one that int64 or a float holds exactly."""
    is_float = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return is_float or whole_number(value) is not None
