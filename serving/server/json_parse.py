"""JSON text -> Python values, by the rules of RapidJSON as TF Serving sets it up, with RapidJSON's messages."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import pydantic_core

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.json_print import value_text

_BLANKS = re.compile(r"[ \t\r\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_NAME_END = re.compile(rb'"[ \t\r\n]*:')
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)

# Python's json says what it expected, RapidJSON what is missing. "Expecting ',' delimiter" needs the context as well.
_WORDING = (
    ("Expecting value", "Invalid value."),
    ("Expecting property name", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Illegal trailing comma before end of array", "Invalid value."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\uXXXX escape", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\escape", "Invalid escape character in string."),
    ("Invalid control character", "Invalid encoding in string."),
)


_FLAT = frozenset({str, int, float, bool, type(None)})  # types of values that hold no others


class _NumberTooBigError(Exception):
    pass


class RepeatedNames(dict[str, Any]):
    """A JSON object that has a name twice, as RapidJSON keeps it: looked up, the first one counts; none is dropped.

    `len` and `items` tell of every member, in the order of the text.

    Args:
      members: Name and value of each member.
    """

    def __init__(self, members: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(members))
        self._members = members

    def __len__(self) -> int:
        return len(self._members)

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override]
        """Every member, in the order of the text."""
        return self._members


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses a request body whose top level must be an object.

    The tokens `NaN`, `Infinity` and `-Infinity` are numbers, whatever follows the object is ignored, and bytes that
    are not UTF-8 pass through (they come back as lone surrogates, see `surrogateescape`). An object that has a name
    twice is a `RepeatedNames`. Source: TF Serving, util/json_tensor.cc (ParseJson).

    Args:
      body: The request body.

    Returns:
      The object.

    Raises:
      StatusError: INVALID_ARGUMENT, if the body is empty, not JSON or not an object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = pydantic_core.from_json(body, cache_strings="keys")
        if _may_repeat_names(body, document):
            document = _parse_leniently(body)
    except ValueError:
        # A fast and strict parser. What it refuses may still be good for RapidJSON, or deserves RapidJSON's message.
        document = _parse_leniently(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {value_text(document)} Is not object")
    return document


def refuse_number_overflow(body: bytes, feeds: Mapping[str, np.ndarray]) -> None:
    """Refuses numbers that no double holds, such as `1e400`; `Infinity` is good.

    `parse_object` reads both as an infinity, so only a body that gave one is looked at again.

    Args:
      body: The request body.
      feeds: The arrays it was decoded to.

    Raises:
      StatusError: INVALID_ARGUMENT, if there is such a number.
    """
    if any(array.dtype.kind == "f" and np.isinf(array).any() for array in feeds.values()):
        _parse_leniently(body)


def _may_repeat_names(body: bytes, document: Any) -> bool:
    # Of a name that is there twice the fast parser keeps the last and says nothing. Every member has its own colon, so
    # a body with no more of them than there are members repeats none; strings may hold colons, hence the second look.
    members = _members([document])
    return body.count(b":") != members and len(_NAME_END.findall(body)) != members


def _members(values: list[Any]) -> int:
    """How many members the objects in a list have, nested ones included."""
    count, level = 0, values
    while level:
        objects = [value for value in level if type(value) is dict]
        count += sum(map(len, objects))
        lists = [value for value in level if type(value) is list]
        level = [
            value
            for values_ in chain(map(dict.values, objects), lists)
            if not _FLAT.issuperset(map(type, values_))
            for value in values_
        ]
    return count


def _parse_leniently(body: bytes) -> Any:
    text = body.decode("utf-8", "surrogateescape")
    start = _BLANKS.match(text).end()  # type: ignore[union-attr]  # the pattern matches the empty string too
    if start == len(text):
        raise _parse_error("The document is empty.", text, start)
    try:
        document, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _parse_error(_rapidjson_wording(error.msg, text, error.pos), text, error.pos) from error
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: The document is nested too deeply.") from error
    except _NumberTooBigError as error:
        raise _parse_error("Number too big to be stored in double.", text, text.find(str(error))) from error
    if _SURROGATE_ESCAPE.search(text):
        _check_surrogates(text)
    return document


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _NumberTooBigError(text)
    return value


def _finite_int(text: str) -> int:
    _finite_float(text)
    return int(text)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    return found if len(found) == len(members) else RepeatedNames(members)


_DECODER = json.JSONDecoder(parse_float=_finite_float, parse_int=_finite_int, object_pairs_hook=_object)


def _parse_error(message: str, text: str, position: int) -> StatusError:
    offset = len(text[:position].encode("utf-8", "surrogateescape"))
    return invalid_argument(f"JSON Parse error: {message} at offset: {offset}")


def _rapidjson_wording(message: str, text: str, position: int) -> str:
    for beginning, wording in _WORDING:
        if message.startswith(beginning):
            return wording
    opened = []
    for match in _STRING_OR_BRACKET.finditer(text, 0, position):
        if match[0] in ("[", "{"):
            opened.append(match[0])
        elif match[0] in ("]", "}") and opened:
            opened.pop()
    if opened and opened[-1] == "{":
        return "Missing a comma or } after an object member."
    return "Missing a comma or ] after an array element."


def _check_surrogates(text: str) -> None:
    # The Python decoder lets lone surrogates pass; after it they could not be told from bytes that are not UTF-8.
    high: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        if high is not None:
            if not (0xDC00 <= code < 0xE000 and escape.start() == high.end()):
                _refuse_surrogate(text, high.start())
            high = None
        elif 0xD800 <= code < 0xDC00:
            high = escape
        elif 0xDC00 <= code < 0xE000:
            _refuse_surrogate(text, escape.start())
    if high is not None:
        _refuse_surrogate(text, high.start())


def _refuse_surrogate(text: str, position: int) -> NoReturn:
    raise _parse_error("The surrogate pair in string is invalid.", text, position)
