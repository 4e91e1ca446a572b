"""JSON examples to tf.Example, by TF Serving's rules (util/json_tensor.cc), and classify and regress over REST."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.serving import EmbeddedServer
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.inference import Classifications
from htlnet_tf.serving.server.json_parse import parse_object
from htlnet_tf.serving.server.tf_examples import decode_examples, encode_classifications, encode_regressions


def features(serialized: bytes) -> dict[str, list[Any]]:
    example = tf.train.Example.FromString(serialized)
    return {
        name: list(getattr(feature, feature.WhichOneof("kind")).value) if feature.WhichOneof("kind") else []
        for name, feature in example.features.feature.items()
    }


def test_values_become_features_of_their_kind() -> None:
    document = {
        "examples": [
            {"i": 3, "f": 1.5, "s": "Zürich", "b": True, "x": {"b64": "/wD+"}},
            {"i": [1, False, -(2**63)], "f": [1.0, 2.5], "s": ["a", {"b64": "eQ"}, ""], "empty": []},
            {},
        ]
    }
    first, second, third = decode_examples(document)
    assert features(first) == {"i": [3], "f": [1.5], "s": ["Zürich".encode()], "b": [1], "x": [b"\xff\x00\xfe"]}
    assert features(second) == {"i": [1, 0, -(2**63)], "f": [1.0, 2.5], "s": [b"a", b"y", b""], "empty": []}
    assert features(third) == {}


def test_of_a_feature_twice_the_last_counts() -> None:
    body = b'{"examples": [{"a": 1.0, "b": 1, "a": "x"}], "examples": 5}'
    (only,) = decode_examples(parse_object(body))
    assert features(only) == {"a": [b"x"], "b": [1]}


def test_the_context_gives_what_an_example_lacks() -> None:
    first, second = decode_examples({"context": {"a": 1.0, "b": [2, 3]}, "examples": [{"a": 5.0}, {"c": "x"}]})
    assert features(first) == {"a": [5.0], "b": [2, 3]}
    assert features(second) == {"a": [1.0], "b": [2, 3], "c": [b"x"]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {"a": 1}}, "JSON Value: {"),
        ({"examples": []}, "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ({"examples": [[{"a": 1}]]}, "Example must be JSON object but got JSON Array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"context": None, "examples": [{}]}, "Example must be JSON object but got JSON Null"),
        ({"examples": [{"n": [10, None]}]}, "Feature: n has element with unexpected JSON type: Null"),
        ({"examples": [{"n": [10, 10.0]}]}, "Unexpected element type in feature: n expecting type: int64"),
        ({"examples": [{"n": ["x", 1]}]}, "Unexpected element type in feature: n expecting type: bytes"),
        ({"examples": [{"n": [1.5, "x"]}]}, "Unexpected element type in feature: n expecting type: float"),
        ({"examples": [{"n": [10, {"test": 10}]}]}, "Feature: n has element with unexpected JSON type: Object"),
        ({"examples": [{"n": [[10], 20]}]}, "Feature: n has element with unexpected JSON type: Array"),
        ({"examples": [{"n": 2**63}]}, "Feature: n has uint64 element. Only int64 is supported."),
        ({"examples": [{"n": 1e300}]}, "Cannot convert JSON value: 1e+300 to float without loss of precision."),
        ({"examples": [{"n": {"b64": "?"}}]}, "Unable to base64 decode"),
        ({"examples": [{"\udcff": 1}]}, "The name of a feature must be UTF-8"),
    ],
)
def test_documents_that_are_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        decode_examples(document)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith(message)


def test_numbers_that_float_cannot_tell() -> None:
    (serialized,) = decode_examples({"examples": [{"n": [float("nan"), float("inf"), 2.0, 2**64]}]})
    np.testing.assert_array_equal(features(serialized)["n"], [np.nan, np.inf, 2.0, np.float32(2**64)])


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(-(2**63), 2**63 - 1))))
def test_integers_come_through(example: dict[str, list[int]]) -> None:
    assert features(decode_examples({"examples": [example]})[0]) == example


def test_results() -> None:
    both = Classifications(np.array([[b"no", b"\xff"]], object), np.array([[0.25, np.nan]], np.float32))
    assert encode_classifications(both) == b'{\n    "results": [[["no", 0.25], ["\xff", NaN]]\n    ]\n}'
    labels = Classifications(np.array([[b"a"], [b"b"]], object), None)
    assert json.loads(encode_classifications(labels)) == {"results": [[["a", 0.0]], [["b", 0.0]]]}
    scores = Classifications(None, np.array([[0.5], [9e6]], np.float32))
    assert json.loads(encode_classifications(scores)) == {"results": [[["", 0.5]], [["", 9e6]]]}
    assert encode_regressions(np.array([0.5, 2.0], np.float32)) == b'{\n    "results": [0.5, 2.0\n    ]\n}'


@pytest.fixture(scope="module")
def http(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client:
        yield client


def test_classify_and_regress(http: httpx.Client) -> None:
    document = {"signature_name": "classify", "context": {"b": 0.25}, "examples": [{"a": 0.5}, {"a": 0.5, "b": 0.0}]}
    # By hand: p = a + b with factor 1.
    expected = [[["no", 0.25], ["yes", 0.75]], [["no", 0.5], ["yes", 0.5]]]
    assert http.post("/v1/models/tiny/labels/stable:classify", json=document).json() == {"results": expected}
    document["signature_name"] = "regress"
    assert http.post("/v1/models/tiny/versions/1:regress", json=document).json() == {"results": [0.75, 0.5]}
    assert http.post("/v1/models/tiny:regress", json=document).json() == {"results": [7.5, 5.0]}


@pytest.mark.parametrize(
    ("verb", "signature", "message"),
    [
        ("classify", "regress", 'Expected classification signature outputs to contain at least one of "classes" or'),
        ("classify", "serving_default", "Expected one input Tensor."),
        ("classify", "one", "No classification inputs found in SignatureDef: "),
        ("classify", "zz", "No signature was found with the name: zz"),
        ("regress", "classify", "Expected one output Tensor."),
        ("regress", "one", "No regression inputs found in SignatureDef: "),
        ("regress", "zz", "No signature was found with the name: zz"),
        ("regress", "regress", "Name: <unknown>, Feature: a (data type: float) is required but could not be found."),
    ],
)
def test_signatures_that_do_not_fit(http: httpx.Client, verb: str, signature: str, message: str) -> None:
    document = {"signature_name": signature, "examples": [{"b": 1.0}]}
    response = http.post(f"/v1/models/tiny:{verb}", json=document)
    assert response.status_code == 400
    assert response.json()["error"].startswith(message)


def test_serialized_examples_are_taken_by_predict(http: httpx.Client, ranker_server: EmbeddedServer) -> None:
    features = {"age": 2.0, "user": b"anna\0", "item": 1, "price": 10.0}
    example = tf.train.Example()
    for name, value in features.items():
        kind = {float: "float_list", bytes: "bytes_list", int: "int64_list"}[type(value)]
        getattr(example.features.feature[name], kind).value.append(value)
    packed = {"b64": base64.b64encode(example.SerializeToString()).decode()}
    for sent, many in (({"inputs": [packed]}, True), ({"inputs": packed}, False), ({"instances": [packed]}, True)):
        response = httpx.post(
            f"{ranker_server.url}/v1/models/ranker:predict",
            json={"signature_name": "examples", **sent},
            trust_env=False,
        )
        # By hand: 2 * 10 + 1; 5 bytes and 2 * 2. A bare value is a scalar, and so are the outputs.
        expected = {"buy": 21.0, "click": 9.0, "name": "anna\x001"}
        answer = response.json()
        if "instances" in sent:
            assert answer == {"predictions": [expected]}
        else:
            assert answer == {"outputs": {name: [one] if many else one for name, one in expected.items()}}


@pytest.mark.parametrize("sent", [{"instances": [{"b64": "gYA="}]}, {"inputs": {"inputs": [{"b64": "gYA="}]}}])
def test_a_damaged_example_is_quoted_as_it_is(http: httpx.Client, sent: dict[str, Any]) -> None:
    response = http.post("/v1/models/tiny:predict", json={"signature_name": "regress", **sent})
    # TensorFlow, util/example_proto_fast_parsing.cc; bytes that are not UTF-8 go out as they came.
    assert response.status_code == 400
    assert b"Could not parse example input, value: '\x81\x80" in response.content
