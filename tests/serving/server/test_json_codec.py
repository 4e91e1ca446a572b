"""The JSON coding rules. Expected texts are those of TF Serving 2.20 (util/json_tensor.cc), written down by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.json_codec import decode_predict, encode_predict, signature_name
from htlnet_tf.serving.server.json_parse import RepeatedNames, parse_object, refuse_number_overflow
from htlnet_tf.serving.server.json_print import float_texts
from htlnet_tf.serving.signatures import TensorInfo

INPUTS = {
    "city": TensorInfo("city:0", "DT_STRING", (-1,)),
    "count": TensorInfo("count:0", "DT_INT64", (-1,)),
    "price": TensorInfo("price:0", "DT_FLOAT", (-1,)),
}
ROW = {"city": "rome", "count": 2, "price": 1.5}


def decode(document: Any, inputs: dict[str, TensorInfo] = INPUTS) -> tuple[dict[str, np.ndarray], bool]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    feeds, rows = decode_predict(parse_object(body), inputs)
    refuse_number_overflow(body, feeds)
    return feeds, rows


def single(dtype: str) -> dict[str, TensorInfo]:
    return {"x": TensorInfo("x:0", dtype, (-1,))}


def refusal(document: Any, inputs: dict[str, TensorInfo] = INPUTS) -> str:
    with pytest.raises(StatusError) as caught:
        decode(document, inputs)
    assert caught.value.http_status in (400, 501)
    return caught.value.message


def test_rows_and_columns_give_the_same_arrays() -> None:
    feeds, rows = decode({"instances": [ROW, {"city": "", "price": -1, "count": -3}]})
    assert rows
    assert feeds["city"].tolist() == [b"rome", b""] and feeds["city"].dtype == object
    assert feeds["count"].tolist() == [2, -3] and feeds["count"].dtype == np.int64
    assert feeds["price"].tolist() == [1.5, -1.0] and feeds["price"].dtype == np.float32
    columns, rows = decode({"inputs": {"city": ["rome", ""], "count": [2, -3], "price": [1.5, -1], "extra": 0}})
    assert not rows
    assert columns.keys() == feeds.keys()
    for name in feeds:
        np.testing.assert_array_equal(columns[name], feeds[name])


def test_nested_lists_give_the_shape_whatever_the_signature_declares() -> None:
    feeds, _ = decode({"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}, single("DT_FLOAT"))
    np.testing.assert_array_equal(feeds["x"], np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2))
    assert decode({"inputs": 3.5}, single("DT_FLOAT"))[0]["x"].shape == ()
    assert decode({"inputs": []}, single("DT_FLOAT"))[0]["x"].shape == (0,)
    assert decode({"inputs": {"x": [[], []]}}, single("DT_STRING"))[0]["x"].shape == (2, 0)


def test_base64_objects_are_bytes() -> None:
    feeds, _ = decode({"instances": [{"b64": "/wD+"}, "x", {"b64": "eQ"}, {"b64": "e Q = ="}]}, single("DT_STRING"))
    assert feeds["x"].tolist() == [b"\xff\x00\xfe", b"x", b"y", b"y"]
    assert decode({"inputs": {"b64": "eQ=="}}, single("DT_STRING"))[0]["x"].item() == b"y"


def test_bytes_that_are_not_utf8_pass_through() -> None:
    feeds, _ = decode(b'{"instances": ["\xff\xfe", "Z\xc3\xbcrich", "\\ud83d\\ude00"]}', single("DT_STRING"))
    assert feeds["x"].tolist() == [b"\xff\xfe", "Zürich".encode(), "😀".encode()]


def test_tokens_for_nan_and_infinity_are_numbers() -> None:
    feeds, _ = decode(b'{"instances": [NaN, Infinity, -Infinity, 1e39]} trailing', single("DT_FLOAT"))
    np.testing.assert_array_equal(feeds["x"], [np.nan, np.inf, -np.inf, np.inf])


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("DT_INT32", 2**31 - 1, 2**31 - 1),
        ("DT_UINT8", 256, 0),  # no range check beyond int32
        ("DT_INT8", 200, -56),
        ("DT_INT64", -(2**63), -(2**63)),
        ("DT_UINT64", 2**64 - 1, 2**64 - 1),
        ("DT_DOUBLE", 10**300, 1e300),
        ("DT_BOOL", True, True),
    ],
)
def test_numbers_of_the_types(dtype: str, value: Any, expected: Any) -> None:
    assert decode({"instances": [value]}, single(dtype))[0]["x"].tolist() == [expected]


@pytest.mark.parametrize(
    ("dtype", "text", "message"),
    [
        ("DT_FLOAT", '"abc"', 'JSON Value: "abc" Type: String is not of expected type: float'),
        ("DT_FLOAT", "null", "JSON Value: null Type: Null is not of expected type: float"),
        ("DT_FLOAT", "true", "JSON Value: true Type: True is not of expected type: float"),
        ("DT_FLOAT", '{"b64": "AAAA"}', 'JSON Value: {\n    "b64": "AAAA"\n} Type: Object is not of expected type'),
        ("DT_INT64", "2.5", "JSON Value: 2.5 Type: Number is not of expected type: int64"),
        ("DT_INT64", "2.0", "JSON Value: 2.0 Type: Number is not of expected type: int64"),
        ("DT_INT64", "9223372036854775808", "JSON Value: 9223372036854775808 Type: Number is not of expected type"),
        ("DT_INT32", "2147483648", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ("DT_BOOL", "1", "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("DT_STRING", "1", "JSON Value: 1 Type: Number is not of expected type: string"),
        ("DT_STRING", '{"b64": "", "x": 1}', "JSON Value: {\n"),
        ("DT_STRING", '{"b64": "?"}', "Unable to base64 decode"),
    ],
)
def test_values_of_another_type_are_refused(dtype: str, text: str, message: str) -> None:
    assert refusal(f'{{"inputs": {{"x": [{text}]}}}}'.encode(), single(dtype)).startswith(message)
    if not text.startswith("{"):
        start = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
        assert refusal(f'{{"instances": [{text}]}}'.encode(), single(dtype)).startswith(start + message)


def test_half_has_no_json_form() -> None:
    assert refusal({"instances": [1.5]}, single("DT_HALF")) == (
        "Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: "
        "Conversion of JSON Value: 1.5 to type: half"
    )
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: half"):
        encode_predict({"y": np.zeros(1, np.float16)}, rows=True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"  ", "JSON Parse error: The document is empty. at offset: 2"),
        (b'{"instances": [', "JSON Parse error: Invalid value. at offset: 15"),
        (b"{'instances': []}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b'{"a": [1 2]}', "JSON Parse error: Missing a comma or ] after an array element. at offset: 9"),
        (b'{"a": "]" "b"}', "JSON Parse error: Missing a comma or } after an object member. at offset: 10"),
        (b'{"a": "x', "JSON Parse error: Missing a closing quotation mark in string."),
        (b'{"a": "\xc3\xbc\\q"}', "JSON Parse error: Invalid escape character in string."),
        (b'{"a": "\\ud800"}', "JSON Parse error: The surrogate pair in string is invalid. at offset: 7"),
        (b'{"a": "\\udc00"}', "JSON Parse error: The surrogate pair in string is invalid."),
        (b'{"instances":[1e400]}', "JSON Parse error: Number too big to be stored in double. at offset: 14"),
        (b'{"instances":[1' + b"0" * 400 + b"]}", "JSON Parse error: Number too big to be stored in double."),
        (b'{"instances":[1' + b"0" * 9999 + b"]}", "JSON Parse error: Number too big to be stored in double."),
        (b"[" * 100_000, "JSON Parse error: "),
        (b"null", "JSON Value: null Is not object"),
        (b"[1.5]", "JSON Value: [1.5] Is not object"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"instances": null}', "JSON Value: {\n    \"instances\": null\n} Expecting 'instances' to be an list/array"),
        (b'{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (b'{"instances": [1], "inputs": {}}', "JSON Value: {\n"),
    ],
)
def test_documents_that_are_refused(body: bytes, message: str) -> None:
    assert refusal(body, single("DT_FLOAT")).startswith(message)


def test_rows_must_name_exactly_the_inputs() -> None:
    place = "Failed to process element: 1"
    extra = {**ROW, "zzz": 1}
    missing = {"city": "rome", "price": 1.5}
    assert refusal({"instances": [ROW, extra]}) == (
        f"{place} key: zzz of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: zzz"
    )
    assert refusal({"instances": [ROW, missing]}).endswith("keys must be equal to: city,count,price")
    assert refusal({"instances": [[1.5], [2.0]]}).startswith("instances is a plain list, but expecting list of objects")
    assert refusal({"instances": [ROW, [1]]}) == "Expecting object but got list at item 1 of input list"
    assert refusal({"instances": [1, {"x": 1}]}, single("DT_FLOAT")) == (
        "Expecting value/list but got object at item 1 of input list"
    )
    assert refusal({"inputs": {"city": [], "price": []}}) == "Missing named input: count in 'inputs' object."
    assert refusal({"inputs": [1]}).startswith("inputs is a plain value/list, but expecting an object")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [[1.5], [1.5, 2.5]],
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor ",
        ),
        (
            [1.5, [1.5]],
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [] but",
        ),
        (
            [[[1, 2], [3]]],
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at ",
        ),
        (
            [[1, [2]]],
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: Encountered list at unex",
        ),
        (
            [[[1], 2]],
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: 2 found at i",
        ),
    ],
)
def test_rows_must_be_rectangular(rows: list[Any], message: str) -> None:
    assert refusal({"instances": rows}, single("DT_FLOAT")).startswith(message)


def test_ragged_columns_are_refused() -> None:
    assert refusal({"inputs": [[1.5], [2.0, 3.0]]}, single("DT_FLOAT")) == (
        "Encountered list at unexpected size: 2 at level: 1 expected size: 1"
    )


def test_signature_name() -> None:
    assert signature_name({}) == "" and signature_name({"signature_name": "x"}) == "x"
    with pytest.raises(StatusError, match="'signature_name' key must be a string value"):
        signature_name({"signature_name": 5})


def test_float_texts() -> None:
    values = [0.0, 1.0, -2.0, 0.1, 9000000.0, 1234567.0, 0.00003, 1e-7, 0.633021414, np.nan, np.inf, -np.inf]
    expected = "0.0 1.0 -2.0 0.1 9e+06 1234567.0 3e-05 1e-07 0.633021414 NaN Infinity -Infinity"
    assert " ".join(float_texts(np.array(values, np.float32))) == expected
    assert float_texts(np.array([0.1, 1 / 3, 16777217.0])) == ["0.1", "0.33333333333333331", "16777217.0"]


def test_printed_floats_read_back_as_the_same_numbers() -> None:
    values = np.random.default_rng(0).standard_normal(2000).astype(np.float32) * np.float32(1e3)
    assert np.array_equal(np.array([float(text) for text in float_texts(values)], np.float32), values)


def test_replies_in_rows() -> None:
    one = {"y": np.array([[2.0, 4.0], [6.0, 9.0]], np.float32)}
    assert encode_predict(one, rows=True) == b'{\n    "predictions": [[2.0, 4.0], [6.0, 9.0]\n    ]\n}'
    several = {"id": np.array([[2]]), "city": np.array([[b"rome"]], object)}
    assert encode_predict(several, rows=True) == (
        b'{\n    "predictions": [\n        {\n            "id": [2],\n            "city": ["rome"]\n        }\n    ]\n}'
    )
    assert json.loads(encode_predict({"y": np.zeros([0, 2])}, rows=True)) == {"predictions": []}
    assert json.loads(encode_predict({"y": np.zeros([2, 0])}, rows=True)) == {"predictions": [[], []]}


def test_replies_in_columns() -> None:
    assert encode_predict({"y": np.float32(7).reshape([])}, rows=False) == b'{\n    "outputs": 7.0\n}'
    text = encode_predict({"a": np.array([[True, False]]), "b": np.array([1], np.uint8)}, rows=False)
    assert text == (
        b'{\n    "outputs": {\n        "a": [\n            [\n                true,\n                false\n'
        b'            ]\n        ],\n        "b": [\n            1\n        ]\n    }\n}'
    )


def test_strings_are_base64_only_where_the_alias_says_so() -> None:
    values = np.array([b"hello"], object)
    assert json.loads(encode_predict({"out_bytes": values}, rows=True)) == {"predictions": [{"b64": "aGVsbG8="}]}
    assert encode_predict({"out_bytes": values}, rows=True) == (
        b'{\n    "predictions": [{\n            "b64": "aGVsbG8="\n        }\n    ]\n}'
    )
    assert json.loads(encode_predict({"out": values}, rows=False)) == {"outputs": ["hello"]}
    raw = encode_predict({"out": np.array([b'\xff\x00"'], object)}, rows=True)
    assert raw == b'{\n    "predictions": ["\xff\\u0000\\""\n    ]\n}'


def test_rows_need_one_first_dimension() -> None:
    scalar, two, three = np.float32(1).reshape([]), np.zeros(2), np.zeros(3)
    with pytest.raises(StatusError, match="Tensor name: total has no shape information"):
        encode_predict({"rowsum": two, "total": scalar}, rows=True)
    with pytest.raises(StatusError, match="Tensor name: b has inconsistent batch size: 3 expecting: 2"):
        encode_predict({"a": two, "b": three}, rows=True)
    assert json.loads(encode_predict({"a": two, "b": three, "c": scalar}, rows=False))["outputs"]["c"] == 1.0


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('{"a": 1, "b": {"c": 2, "c": 3}}', {"c": [2, 3]}),
        ('{"b": [[{"c": ":", "d": "\\":", "c" \n: null}]]}', {"c": [":", None], "d": ['":']}),
        ('{"b": {"\\u0063": 1, "c": 2}} trailing', {"c": [1, 2]}),
    ],
)
def test_an_object_keeps_every_member_of_a_name_and_finds_the_first(text: str, members: dict[str, list[Any]]) -> None:
    found = parse_object(text.encode())["b"]
    while isinstance(found, list):
        found = found[0]
    assert isinstance(found, RepeatedNames)
    for name, values in members.items():
        assert [value for key, value in found.items() if key == name] == values
        assert found[name] == values[0]
    assert len(found) == len(found.items()) == sum(map(len, members.values()))


def test_names_once_are_plain_objects_whatever_the_strings_hold() -> None:
    text = '{"a": {"b": ":", "c:": "\\":", "d": ["x\\":y", {"e" : 1}]}, "f": {"b": {"b": 1}}}'
    document = parse_object(text.encode())
    assert document == json.loads(text)
    assert type(document) is dict and type(document["a"]) is dict


def test_of_a_name_twice_the_first_counts_but_in_rows() -> None:
    # json_tensor.cc: FindMember gives the first; the members of a row are gone through one by one.
    assert signature_name(parse_object(b'{"signature_name": "a", "signature_name": 5}')) == "a"
    x = single("DT_FLOAT")
    assert decode(b'{"inputs": [1], "inputs": [2]}', x)[0]["x"].tolist() == [1.0]
    assert decode(b'{"inputs": {"x": [1, 2], "x": "no"}}', x)[0]["x"].tolist() == [1.0, 2.0]
    assert decode(b'{"instances": [{"x": 1, "x": 2}]}', x)[0]["x"].tolist() == [1.0]
    # Both values are added, and a tensor of two rows takes the first two of the three.
    assert decode(b'{"instances": [{"x": 1, "x": 2}, {"x": 3}]}', x)[0]["x"].tolist() == [1.0, 2.0]
    two = decode(b'{"instances": [{"x": [1, 2]}, {"x": [3, 4], "x": [5, 6]}]}', x)[0]["x"]
    assert two.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert "key: x of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2" in refusal(
        b'{"instances": [{"x": 1, "x": [2, 3]}]}', x
    )
    # Two members are no base64 object.
    assert "not formatted correctly for base64" in refusal(
        b'{"inputs": [{"b64": "eQ==", "b64": "eg=="}]}', single("DT_STRING")
    )
    assert '"b64": "eQ==",\n    "b64": "eg=="' in refusal(
        b'{"inputs": [{"b64": "eQ==", "b64": "eg=="}]}', single("DT_STRING")
    )
