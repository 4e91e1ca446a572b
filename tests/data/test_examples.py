"""Examples written without TensorFlow are those that TensorFlow writes."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from htlnet_tf.data.examples import column_bytes, example_bytes, feature_bytes


def test_every_kind_against_tensorflow() -> None:
    expected = tf.train.Example()
    feature = expected.features.feature
    feature["text"].bytes_list.value.extend([b"a", "ö".encode(), b""])
    feature["count"].int64_list.value.extend([-(2**63), 2**63 - 1])
    feature["price"].float_list.value.extend([0.1, float("inf")])
    feature["none"].float_list.SetInParent()
    written = example_bytes(
        [
            feature_bytes("text", "bytes", [b"a", "ö".encode(), b""]),
            feature_bytes("count", "int64", [-(2**63), 2**63 - 1]),
            feature_bytes("price", "float", [0.1, float("inf")]),
            feature_bytes("none", "float", []),
        ]
    )
    assert tf.train.Example.FromString(written) == expected
    assert example_bytes([]) == b"\x0a\x00" and tf.train.Example.FromString(example_bytes([])) is not None


def test_a_message_longer_than_a_byte_can_count() -> None:
    long = [f"{i:05}".encode() for i in range(5000)]
    parsed = tf.train.Example.FromString(example_bytes([feature_bytes("x", "bytes", long)]))
    assert list(parsed.features.feature["x"].bytes_list.value) == long


def test_columns_in_raw_form() -> None:
    columns = [
        column_bytes("tags", np.asarray(["a|b", "", "c"], object), separator="|"),
        column_bytes("city", np.asarray(["x|y", "", "z"], object)),
        column_bytes("count", np.asarray([1, -(2**63), 0])),
        column_bytes("price", np.asarray([0.5, np.nan, 0.0], np.float32)),
    ]
    examples = [tf.train.Example.FromString(example_bytes(row)) for row in zip(*columns, strict=True)]
    lists = [
        {name: list(getattr(f, f.WhichOneof("kind")).value) for name, f in one.features.feature.items()}
        for one in examples
    ]
    assert lists == [
        {"tags": [b"a", b"b"], "city": [b"x|y"], "count": [1], "price": [0.5]},
        {"tags": [], "city": [], "count": [], "price": []},
        {"tags": [b"c"], "city": [b"z"], "count": [0], "price": [0.0]},
    ]
