"""Recorded exchanges with the genuine TensorFlow Serving, put to the embedded server.

The recordings and the models that answered them lie beside the checkout (`../shared/tfserving`); without them the tests
are skipped.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from htlnet_tf.serving import EmbeddedServer

RECORDINGS = Path(__file__).parents[2].parent / "shared" / "tfserving"

# What this server does not answer yet, by the recorded name.
OUT_OF_SCOPE = {
    **dict.fromkeys(["metadata_label", "predict_label_path", "predict_label_canary"], "no version labels"),
    **dict.fromkeys(
        [
            *("classify_ok", "classify_context", "classify_default_signature", "classify_empty_examples"),
            *("classify_int_for_float_feature", "classify_missing_feature", "classify_unknown_signature"),
            *("classify_unknown_model", "classify_with_regress_signature"),
        ],
        "no :classify",
    ),
    **dict.fromkeys(
        ["regress_default_signature", "regress_unknown_signature", "regress_with_classify_signature"], "no :regress"
    ),
}

# Not in rest.jsonl although it stands in the written table: monitoring_prometheus, predict_batch_1000.


def _recorded() -> list[dict[str, Any]]:
    file = RECORDINGS / "rest.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


EXCHANGES = _recorded()
IN_SCOPE = [exchange for exchange in EXCHANGES if exchange["name"] not in OUT_OF_SCOPE]

pytestmark = pytest.mark.skipif(not EXCHANGES, reason=f"no recorded exchanges in {RECORDINGS}")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with EmbeddedServer(RECORDINGS / "models", port=0) as server:
        yield server.url


def _same(received: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(received, dict)
            and received.keys() == expected.keys()
            and all(_same(received[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(received, list)
            and len(received) == len(expected)
            and all(_same(one, other) for one, other in zip(received, expected, strict=True))
        )
    if isinstance(expected, float):
        if math.isnan(expected):
            return isinstance(received, float) and math.isnan(received)
        return isinstance(received, float) and math.isclose(received, expected, rel_tol=1e-6, abs_tol=1e-6)
    return type(received) is type(expected) and received == expected


def _stable_beginning(message: str) -> str:
    # The names of nodes and debug marks after it vary from run to run.
    return message.split("\n\t [[")[0].split("goo.gle/debug")[0]


@pytest.mark.parametrize("exchange", IN_SCOPE, ids=[exchange["name"] for exchange in IN_SCOPE])
def test_same_answer_as_tensorflow_serving(url: str, exchange: dict[str, Any]) -> None:
    body = exchange["request"].encode("utf-8", "surrogateescape") if exchange["request"] is not None else None
    if exchange.get("gzip"):
        body = gzip.compress(body or b"")
    headers = dict(header.split(": ", 1) for header in exchange["headers"])
    # The path goes out as recorded: httpx keeps `//` and `%74` only in a whole URL.
    with httpx.Client(trust_env=False, timeout=20) as http:
        response = http.request(exchange["method"], url + exchange["path"], content=body, headers=headers)

    assert response.status_code == int(exchange["status_line"].split()[1]), response.text
    recorded_headers = dict(header.split(": ", 1) for header in exchange["response_headers"])
    assert response.headers["content-type"] == recorded_headers["Content-Type"]
    assert set(response.headers) == {name.lower() for name in recorded_headers}
    if exchange.get("message_varies"):
        return
    if recorded_headers["Content-Type"] != "application/json":
        assert response.text == exchange["body"]
        return
    received, expected = json.loads(response.text), json.loads(exchange["body"])
    if "error" in expected:
        assert received.keys() == {"error"}
        assert received["error"].startswith(_stable_beginning(expected["error"]))
    else:
        assert _same(received, expected), response.text


def test_every_exchange_out_of_scope_is_refused_cleanly(url: str) -> None:
    recorded = {exchange["name"]: exchange for exchange in EXCHANGES}
    assert OUT_OF_SCOPE.keys() <= recorded.keys()
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
        for name, reason in OUT_OF_SCOPE.items():
            exchange = recorded[name]
            response = http.request(exchange["method"], exchange["path"], content=exchange["request"])
            assert response.status_code == (400 if "label" in reason else 501), name
            assert response.json().keys() == {"error"}
