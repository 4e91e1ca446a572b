"""One table, three ways to send it: the server reads the same arrays out of rows, columns and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.bodies import columnar_body, row_body
from htlnet_tf.serving.clients.columns import to_columns
from htlnet_tf.serving.clients.examples import serialized_examples
from htlnet_tf.serving.clients.tensors import tensor_of
from htlnet_tf.serving.server.json_codec import decode_predict
from htlnet_tf.serving.server.json_parse import parse_object
from htlnet_tf.serving.signatures import Signature, TensorInfo

INPUTS = {
    "s": TensorInfo("", "DT_STRING", (-1,)),
    "i": TensorInfo("", "DT_INT64", (-1,)),
    "f": TensorInfo("", "DT_FLOAT", (-1, 1)),
    "d": TensorInfo("", "DT_DOUBLE", (-1,)),
    "b": TensorInfo("", "DT_BOOL", (-1,)),
}
SIGNATURE = Signature(INPUTS, {})
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "s": st.none() | st.text() | st.binary() | st.integers(-5, 2**70),
    "i": st.none() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.sampled_from([3.0, -(2.0**53)]),
    "f": st.none() | st.floats(width=32),
    "d": st.none() | st.floats(allow_subnormal=False) | st.integers(-(2**53), 2**53),
    "b": st.booleans(),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=5)


@settings(max_examples=200)
@given(ROWS)
def test_rows_columns_and_tensors_say_the_same(rows: list[dict[str, Any]]) -> None:
    columns = to_columns(rows, SIGNATURE).values
    by_columns, _ = decode_predict(parse_object(columnar_body("", columns)), INPUTS)
    by_rows, _ = decode_predict(parse_object(row_body("", columns)), INPUTS)
    for name, info in INPUTS.items():
        tensor = tf.make_ndarray(tensor_of(name, columns[name], info))
        assert tensor.shape == ((len(rows), 1) if name == "f" else (len(rows),))
        for read in (by_columns[name], by_rows[name]):
            assert read.dtype == tensor.dtype and read.shape == tensor.shape
            np.testing.assert_array_equal(read, tensor)


@settings(max_examples=50)
@given(ROWS)
def test_examples_say_the_same(rows: list[dict[str, Any]]) -> None:
    columns = to_columns(rows, SIGNATURE).values
    kinds = {"s": tf.string, "i": tf.int64, "f": tf.float32, "d": tf.float32, "b": tf.int64}
    columns["d"] = np.clip(columns["d"], -3e38, 3e38).tolist()  # a tf.Example knows no float64
    features = {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    parsed = tf.io.parse_example(serialized_examples(columns, SIGNATURE), features)
    for name, info in INPUTS.items():
        expected = tf.make_ndarray(tensor_of(name, columns[name], info)).reshape(-1)
        np.testing.assert_array_equal(parsed[name].numpy(), expected.astype(parsed[name].dtype.as_numpy_dtype))


def test_a_type_that_requests_cannot_carry_is_refused() -> None:
    half = Signature({"x": TensorInfo("", "DT_HALF", (-1,))}, {})
    with pytest.raises(InputError, match="input 'x' has type half, which requests cannot carry"):
        to_columns({"x": [1.0]}, half)
    matrix = Signature({"x": TensorInfo("", "DT_FLOAT", (-1, 3))}, {})
    with pytest.raises(InputError, match=r"input 'x' of shape \[-1, 3\] cannot be sent"):
        to_columns({"x": [1.0]}, matrix)
