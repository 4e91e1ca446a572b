"""Text without types, such as CSV, as values of the kind that a schema declares."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from htlnet_tf.data.values import MISSING_WORDS, number_of_text
from htlnet_tf.schema import Binary, Categorical, Schema, Timestamp

Kind = Literal["text", "integer", "number", "time", "bool"]

_MISSING = pa.array(MISSING_WORDS)
# 007 is another value than 7, and 0x1f is no number to a person.
_CODE = r"^[+-]?0[0-9xX]"
_LADDERS: dict[Kind, tuple[pa.DataType, ...]] = {
    "integer": (pa.int64(), pa.bool_()),
    "number": (pa.float64(), pa.bool_()),
    "time": (pa.int64(), pa.float64(), pa.timestamp("us")),
    "bool": (pa.bool_(),),
}
_INFERRED: tuple[tuple[pa.DataType, Kind], ...] = (
    (pa.int64(), "integer"),
    (pa.float64(), "number"),
    (pa.bool_(), "bool"),
    (pa.timestamp("us"), "time"),
)


def declared_kinds(schema: Schema) -> dict[str, Kind]:
    """What the text of a schema's columns stands for, by the names that the table has.

    A categorical feature whose dtype is left open holds text, and so does a user that is no feature. What is written in
    a way of its own (a decimal comma, a format of times, labels that are words) stays text for the check of the values
    to read, and so does a column that is read as two kinds.
    """
    kinds: dict[str, Kind] = dict.fromkeys(schema.columns, "number" if schema.decimal == "." else "text")
    for target in schema.targets:
        is_word = isinstance(target, Binary) and target.positive is not None
        kinds[target.source] = "text" if is_word or schema.decimal_of(target) == "," else "number"
    if schema.user_source is not None:
        kinds[schema.user_source] = "text"
    if schema.time_column is not None:
        kinds[schema.time_column] = "time" if schema.time_format is None else "text"
    read: dict[str, Kind] = {}
    for feature in schema.inputs:
        kind: Kind = "number" if schema.decimal_of(feature) == "." else "text"
        if isinstance(feature, Categorical):
            kind = "integer" if feature.dtype == "int64" else "text"
        elif isinstance(feature, Timestamp):
            kind = "time" if feature.format is None else "text"
        read[feature.source] = kind if read.get(feature.source, kind) == kind else "text"
    return kinds | read


def inferred_kind(text: pa.Array) -> Kind:
    """What text stands for if nobody says: whole numbers, numbers, true and false, or ISO 8601 datetimes, if all values
    are; else text. Numbers with leading zeros are text.
    """
    text = pc.cast(text, pa.string())
    if pc.any(pc.match_substring_regex(text, _CODE)).as_py():
        return "text"
    for type_, kind in _INFERRED:
        values = _cast(text, type_)
        if values is not None and values.null_count < len(values):
            return kind
    return "text"


def parse(text: pa.Array, kind: Kind, *, padded: bool = False) -> pa.Array | pd.Categorical:
    """Text as values of a kind; NaN, nan, NULL, null, NA and None are missing where the kind is not text.

    Blanks around a number do not count. A whole number has no plus sign and no leading zeros (`007` is another value
    than `7`), and may be written `7.0`.

    Args:
      text: string [N], or dictionary-encoded.
      kind: Of the column.
      padded: Whole numbers may have leading zeros.

    Returns:
      Values [N]. If some are not of the kind: categories, those that cannot be read among them as the text they are, so
      that a check of the values finds them.
    """
    if kind == "text":
        return text
    text = pc.cast(text, pa.string())
    for type_ in _LADDERS[kind]:
        values = _cast(text, type_)
        if values is not None:
            # Arrow reads leading zeros, and 0x1f, as if they said nothing.
            is_wrong = kind == "integer" and not padded and _may_hold_codes(text)
            return _one_by_one(text, kind) if is_wrong else values
    return _one_by_one(text, kind)


def first_not_utf8(values: pa.Array) -> int | None:
    """The position of the first value of a binary array that is not UTF-8."""
    try:
        pc.cast(values, pa.string())
    except pa.ArrowInvalid:
        for position, value in enumerate(values.to_pylist()):
            try:
                (value or b"").decode("utf-8")
            except UnicodeDecodeError:
                return position
    return None


def _cast(text: pa.Array, type_: pa.DataType) -> pa.Array | None:
    try:
        return pc.cast(text, type_)
    except pa.ArrowInvalid:
        pass  # perhaps only because of the ways to write a missing value
    try:
        return pc.cast(pc.if_else(pc.is_in(text, value_set=_MISSING), None, text), type_)
    except pa.ArrowInvalid:
        return None


def _may_hold_codes(text: pa.Array) -> bool:
    """Whether there is text that starts with 0 and goes on, or with -0; far cheaper than a regular expression."""
    zero = pc.and_(pc.starts_with(text, "0"), pc.greater(pc.binary_length(text), 1))
    return bool(pc.any(zero).as_py() or pc.any(pc.starts_with(text, "-0")).as_py())


def _one_by_one(text: pa.Array, kind: Kind) -> pd.Categorical:
    encoded = pc.dictionary_encode(text)
    missing = set(_MISSING.to_pylist())
    values = []
    for written in encoded.dictionary.to_pylist():
        number = None if written in missing else number_of_text(written, whole=kind == "integer")
        values.append(written if number is None and written not in missing else number)
    # Distinct texts may be one number, and Python takes True for 1.
    keys = [(isinstance(value, str), value) for value in values]
    positions = {key: i for i, key in enumerate(dict.fromkeys(key for key in keys if key[1] is not None))}
    codes = [positions.get(key, -1) for key in keys]
    rows = pc.fill_null(encoded.indices, len(codes)).to_numpy()
    categories = pd.Index([value for _, value in positions], dtype=object)
    return pd.Categorical.from_codes(pd.array([*codes, -1], dtype="int64").to_numpy()[rows], categories=categories)
