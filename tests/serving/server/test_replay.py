"""Recorded exchanges with the genuine TensorFlow Serving, put to the embedded server.

The recordings and the models that answered them lie beside the checkout (`../shared/tfserving`); without them the tests
are skipped.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from htlnet_tf.serving import EmbeddedServer
from tests.serving.server.recordings import MODEL_CONFIG, MODELS, RECORDINGS, recorded, same, stable_beginning

# What this server answers otherwise, by the recorded name, and why.
EXCEPTIONS = {
    "batching_zero_batch": "the genuine server never answers a request without rows when it batches; this one does",
}

# Not in rest.jsonl although they stand in the written table: monitoring_prometheus, predict_batch_1000.

REST = recorded("rest.jsonl")
BATCHING = [exchange for exchange in recorded("rest_batching.jsonl") if exchange["name"] not in EXCEPTIONS]

# The parameters that the genuine server was started with, by the name of the recorded exchange.
BATCHING_PARAMETERS = {
    "batching_allowed": "max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8",
    "batching_split": "max_batch_size { value: 100 } max_execution_batch_size { value: 4 } "
    "enable_large_batch_splitting { value: true }",
    "batching": "max_batch_size { value: 4 } batch_timeout_micros { value: 1000 }  # rows",
}

pytestmark = pytest.mark.skipif(not REST, reason=f"no recorded exchanges in {RECORDINGS}")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "models.config"
    path.write_text(MODEL_CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def url(config: Path) -> Iterator[str]:
    with EmbeddedServer(MODELS, port=0, model_config_file=config) as server:
        yield server.url


@pytest.fixture(scope="module")
def batching_urls(config: Path) -> Iterator[dict[str, str]]:
    urls = {}
    servers = []
    for name, parameters in BATCHING_PARAMETERS.items():
        file = config.with_name(f"{name}.config")
        file.write_text(parameters, encoding="utf-8")
        servers.append(EmbeddedServer(MODELS, port=0, model_config_file=config, batching_parameters_file=file))
        servers[-1].start()
        urls[name] = servers[-1].url
    yield urls
    for server in servers:
        server.stop()


def check(url: str, exchange: dict[str, Any]) -> None:
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
        assert received["error"].startswith(stable_beginning(expected["error"]))
    else:
        assert same(received, expected), response.text


@pytest.mark.parametrize("exchange", REST, ids=[exchange["name"] for exchange in REST])
def test_same_answer_as_tensorflow_serving(url: str, exchange: dict[str, Any]) -> None:
    check(url, exchange)


@pytest.mark.parametrize("exchange", BATCHING, ids=[exchange["name"] for exchange in BATCHING])
def test_same_limits_as_batching(batching_urls: dict[str, str], exchange: dict[str, Any]) -> None:
    name = exchange["name"]
    if exchange["request"] is None:  # too long to be recorded: 101 rows
        row = {"price": [1.5], "city": ["rome"], "count": [2]}
        exchange = {**exchange, "request": json.dumps({"instances": [row] * 101})}
    check(
        batching_urls["_".join(name.split("_")[:2]) if name.split("_")[1] in ("allowed", "split") else "batching"],
        exchange,
    )


def test_exceptions_are_few_and_recorded() -> None:
    names = {exchange["name"] for exchange in [*REST, *recorded("rest_batching.jsonl")]}
    assert EXCEPTIONS.keys() <= names
    assert len(EXCEPTIONS) <= 5


def test_a_request_without_rows_is_answered(batching_urls: dict[str, str]) -> None:
    body = {"signature_name": "twice", "inputs": []}
    response = httpx.post(f"{batching_urls['batching']}/v1/models/ctr:predict", json=body, trust_env=False, timeout=20)
    assert (response.status_code, response.json()) == (200, {"outputs": []})
