"""Arrow arrays as columns of a frame: text as categories, lists joined, no Python object per row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from htlnet_tf.data.sources.text_values import first_not_utf8
from htlnet_tf.data.values import EXACT_FLOAT, whole_number
from htlnet_tf.errors import InputError

Column = Any
"""What pandas takes as a column: an array of NumPy or of pandas."""


class Place(NamedTuple):
    """Where values stand, for messages.

    Attributes:
      file: The path.
      column: Its name.
      rows: The numbers of the rows [N].
    """

    file: str
    column: str
    rows: pd.Index

    def error(self, position: int | None, message: str) -> InputError:
        """An error that names the place."""
        row = "" if position is None else f", row {self.rows[position]}"
        return InputError(f"'{self.file}', column '{self.column}'{row}: {message}")


class ListRule(NamedTuple):
    """What becomes of a column of lists.

    Attributes:
      declared: Whether the schema has the column; if not, its lists stay lists.
      separator: What joins the values of a list.
      single_is_value: A list of one value is no list but that value, which may hold the separator.
    """

    declared: bool
    separator: str | None
    single_is_value: bool = False


class CategoryCache:
    """The categories of the chunk before, by column: consecutive chunks of a file often share their dictionary."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[pa.Array, pd.CategoricalDtype, int | None]] = {}

    def of(self, column: str, dictionary: pa.Array) -> tuple[pd.CategoricalDtype, int | None]:
        """The categories, and the code of the empty string among them.

        Raises:
          ValueError: The values of the dictionary are not distinct, or one is null.
        """
        known = self._known.get(column)
        if known is None or not known[0].equals(dictionary):
            empty = pc.index(dictionary, "").as_py()
            dtype = pd.CategoricalDtype(pd.Index(pd.array(dictionary, dtype="str")))
            known = self._known[column] = (dictionary, dtype, None if empty < 0 else empty)
        return known[1], known[2]


def family(type_: pa.DataType) -> str | None:
    """What kind of values a type holds: `"numbers"`, `"text"`, `"times"`, `"lists"`, `"nothing"`; None if no column of
    a frame is made of it.
    """
    is_ = pa.types
    if isinstance(type_, pa.BaseExtensionType):
        if type_.extension_name == _UUID:
            return "text"
        # A number of periods says nothing without their frequency.
        return None if type_.extension_name == "pandas.period" else family(type_.storage_type)
    if is_.is_dictionary(type_):
        return family(type_.value_type)
    if is_.is_null(type_):
        return "nothing"
    if is_.is_integer(type_) or is_.is_floating(type_) or is_.is_decimal(type_) or is_.is_boolean(type_):
        return "numbers"
    if any(test(type_) for test in _TEXT):
        return "text"
    if is_.is_timestamp(type_) or is_.is_date(type_) or is_.is_duration(type_):
        return "times"
    if is_.is_list(type_) or is_.is_large_list(type_) or is_.is_fixed_size_list(type_):
        return "lists" if family(type_.value_type) in ("numbers", "text", "nothing") else None
    return None


def stored(array: pa.Array) -> pa.Array:
    """An array without Arrow's extension types: UUIDs as their text (8-4-4-4-12), any other type as what it stores."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        values = stored(array.dictionary)
        return array if values is array.dictionary else pa.DictionaryArray.from_arrays(array.indices, values)
    if not isinstance(type_, pa.BaseExtensionType):
        return array
    if type_.extension_name != _UUID:
        return stored(pc.cast(array.storage, pa.bool_()) if type_.extension_name == "arrow.bool8" else array.storage)
    encoded = pc.dictionary_encode(array.storage)
    digits = (value.hex() for value in encoded.dictionary.to_pylist())
    texts = [f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}" for d in digits]  # uuid.UUID takes three times as long
    return pa.DictionaryArray.from_arrays(encoded.indices, pa.array(texts, pa.string()))


def has_values(array: pa.Array) -> bool:
    """Whether there is a value that is not missing, as columns of a frame are: NaN is, and so are the empty string and
    lists without a value.
    """
    array = stored(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = family(array.type)
    if kind == "lists":
        return has_values(pc.list_flatten(array))
    array = array.drop_null()
    if kind == "text":
        return bool(pc.any(pc.greater(pc.binary_length(array), 0)).as_py())
    if pa.types.is_floating(array.type):
        return bool(pc.any(pc.invert(pc.is_nan(array))).as_py())
    return len(array) > 0


def column_of(array: pa.Array, place: Place, rule: ListRule, cache: CategoryCache) -> Column:
    """An Arrow array as a column of a frame.

    Args:
      array: [N], of a type that has a `family`.
      place: Where it stands.
      rule: For lists.
      cache: Of the file that is read.

    Returns:
      [N]. Text and UUIDs: `pd.Categorical`, the empty string being missing. Whole numbers: int64 (uint64 where int64 is
      too small), with gaps pandas' nullable type. Decimals: as whole numbers if their type has no decimals, or if they
      have none and float64 would round one; Python's integers if int64 is too small. Other numbers: float64. Booleans:
      bool, nullable with gaps. Times: datetime64 or timedelta64. Lists that stay lists: an object array of lists. Where
      lists are at fault (a value holds the separator, or there are several values of a feature that has no separator,
      in a file whose columns are not of one type): an object array of values, and of the lists at fault, so that a
      check of the values finds them.

    Raises:
      InputError: Text is not UTF-8, or no list of the column can be joined.
    """
    array = stored(array)
    kind = family(array.type)
    if kind == "lists":
        if not rule.declared:
            lists = np.empty(len(array), object)
            lists[:] = array.to_pylist()
            return lists
        if rule.separator is None and rule.single_is_value:
            return _single_values(array)
        array, kind = joined(array, place, rule), "text"
        if isinstance(array, np.ndarray):
            return array
    if kind in ("text", "nothing"):
        return _categories(_utf8(array, place), place, cache)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind == "times":
        return (
            pc.cast(array, pa.timestamp("s")).to_pandas().array
            if pa.types.is_date(array.type)
            else array.to_pandas().array
        )
    return _numbers(array)


def joined(lists: pa.Array, place: Place, rule: ListRule) -> pa.Array | np.ndarray:
    """A column of lists as text: the values of a list joined by the separator.

    Nulls in a list are left out; no list and an empty list are missing.

    Args:
      lists: list of text, whole numbers or booleans [N].
      place: Where it stands.
      rule: Has the separator.

    Returns:
      string [N]. If a value has the separator in it: an object array, in which the lists with such a value are lists.

    Raises:
      InputError: No separator is declared, or the values are neither text nor whole numbers.
    """
    if rule.separator is None:
        if not has_values(lists):
            return pa.nulls(len(lists), pa.string())
        raise place.error(None, f"{lists.type} holds lists; declare the feature Categorical with a separator")
    if pa.types.is_fixed_size_list(lists.type):
        lists = pc.cast(lists, pa.list_(lists.type.value_type))
    parents = pc.list_parent_indices(lists).to_numpy()
    values = _list_values(pc.list_flatten(lists), parents, place)
    present = pc.is_valid(values)
    values, parents = values.filter(present), parents[present.to_numpy(zero_copy_only=False)]
    lengths = np.bincount(parents, minlength=len(lists))
    holds = pc.match_substring(values, rule.separator).to_numpy(zero_copy_only=False)
    if rule.single_is_value:
        holds &= lengths[parents] > 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), values)
    texts = pc.if_else(pa.array(lengths > 0), pc.binary_join(lists, rule.separator), None)
    if not holds.any():
        return texts
    column = np.array([text or None for text in texts.to_pylist()], object)
    for row in np.unique(parents[holds]).tolist():
        column[row] = lists[row].as_py()
    return column


def _single_values(lists: pa.Array) -> np.ndarray:
    """The one value of each list, None where it is empty; lists of several values stay lists."""
    values = (v if len(v) > 1 else next(iter(v), None) for v in lists.to_pylist())
    return np.fromiter((None if v == "" else v for v in values), object, len(lists))


def _list_values(values: pa.Array, parents: np.ndarray, place: Place) -> pa.Array:
    values = stored(values)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_decimal(values.type) and (numbers := _decimals(values)) is not None:
        values = numbers
    if family(values.type) == "text":
        return pc.cast(_utf8(values, place._replace(rows=place.rows[parents])), pa.string())
    whole = pa.int64() if not pa.types.is_uint64(values.type) else pa.uint64()
    try:
        return pc.cast(pc.cast(values, whole), pa.string())
    except pa.ArrowInvalid as error:
        raise place.error(None, f"lists must hold text or whole numbers; received {values.type}: {error}") from error


def _utf8(array: pa.Array, place: Place) -> pa.Array:
    """Text of any Arrow type as string, or dictionary-encoded string."""
    if pa.types.is_dictionary(array.type):
        if pa.types.is_string(array.type.value_type):
            return array
        try:
            return pa.DictionaryArray.from_arrays(array.indices, pc.cast(array.dictionary, pa.string()))
        except pa.ArrowInvalid:
            array = array.dictionary_decode()  # the value at fault may be in no row
    try:
        return pc.cast(array, pa.string())
    except pa.ArrowInvalid as error:
        position = first_not_utf8(pc.cast(array, pa.binary()))
        if position is None:
            raise
        value = array[position].as_py()
        hint = " (if these are UUIDs, write them as Parquet's type UUID or as text)" if len(value) == 16 else ""
        raise place.error(position, f"text must be UTF-8; received {value!r}{hint}") from error


def _categories(text: pa.Array, place: Place, cache: CategoryCache) -> pd.Categorical:
    encoded = text if pa.types.is_dictionary(text.type) else pc.dictionary_encode(text)
    try:
        dtype, empty = cache.of(place.column, encoded.dictionary)
    except ValueError:  # some writers repeat values in a dictionary, or put the null there
        encoded = pc.dictionary_encode(encoded.dictionary_decode())
        dtype, empty = cache.of(place.column, encoded.dictionary)
    indices = encoded.indices
    codes = (pc.fill_null(pc.cast(indices, pa.int64()), -1) if indices.null_count else indices).to_numpy()
    if empty is not None:
        codes = np.where(codes == empty, -1, codes)
    return pd.Categorical.from_codes(codes, dtype=dtype, validate=False)


def _numbers(array: pa.Array) -> Column:
    type_ = array.type
    if pa.types.is_integer(type_):
        if not pa.types.is_uint64(type_) or not pc.any(pc.greater(array, _MAX_INT64)).as_py():
            array = pc.cast(array, pa.int64())
        values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy()
        return pd.arrays.IntegerArray(values, _gaps(array)) if array.null_count else values
    if pa.types.is_boolean(type_):
        values = pc.fill_null(array, False).to_numpy(zero_copy_only=False)
        return pd.arrays.BooleanArray(values, _gaps(array)) if array.null_count else values
    if pa.types.is_decimal(type_):
        numbers = _decimals(array)
        if numbers is None:  # whole numbers beyond int64: as numbers they may be of any size, as ids they are refused
            column = np.empty(len(array), object)
            column[:] = [None if value is None else int(value) for value in array.to_pylist()]
            return column
        return _numbers(numbers)
    return pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False)


def _decimals(array: pa.Array) -> pa.Array | None:
    """Decimals as int64 if their type has no decimals, or if they are whole and float64 would round one; else as
    float64. None if they are whole numbers that int64 does not hold.
    """
    floats = pc.cast(array, pa.float64())
    type_ = array.type
    if type_.scale > 0 and not pc.any(pc.greater_equal(pc.abs(floats), float(EXACT_FLOAT))).as_py():
        return floats
    if type_.bit_width < 128:  # of which Arrow casts none that have a scale
        array = pc.cast(array, pa.decimal128(type_.precision, type_.scale))
    try:
        return pc.cast(array, pa.int64())
    except pa.ArrowInvalid:  # one has a fraction, or is too large
        is_whole = all(value is None or whole_number(value) is not None for value in array.to_pylist())
        return None if is_whole else floats


def _gaps(array: pa.Array) -> np.ndarray:
    return pc.is_null(array).to_numpy(zero_copy_only=False)


_UUID = "arrow.uuid"
_MAX_INT64 = pa.scalar(2**63 - 1, pa.uint64())
_TEXT = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)
