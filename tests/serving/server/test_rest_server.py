"""The embedded server over HTTP, on a SavedModel made here. The messages are those of TF Serving 2.20."""

from __future__ import annotations

import gzip
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.serving import EmbeddedServer

ROW = {"city": "rome", "count": 2, "price": 1.5}


@pytest.fixture(scope="module")
def http(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as client:
        yield client


def predict(http: httpx.Client, document: Any, path: str = "/v1/models/tiny:predict", **headers: str) -> httpx.Response:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return http.post(path, content=body, headers=headers)


def error(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert document.keys() == {"error"}
    return str(document["error"])


def test_rows(http: httpx.Client) -> None:
    response = predict(http, {"instances": [ROW, {"city": "", "count": 0, "price": -1}]})
    assert response.status_code == 200
    assert response.json() == {
        "predictions": [
            {"click": 15.0, "length": 6, "probs": [1.5, 3.0], "city": "rome"},
            {"click": -10.0, "length": 0, "probs": [-1.0, -2.0], "city": ""},
        ]
    }


def test_columns(http: httpx.Client) -> None:
    response = predict(http, {"inputs": {"city": ["rome"], "count": [2], "price": [1.5]}})
    assert response.json() == {"outputs": {"click": [15.0], "length": [6], "probs": [[1.5, 3.0]], "city": ["rome"]}}


@pytest.mark.parametrize(
    ("place", "click"), [("", 15.0), ("/versions/1", 1.5), ("/versions/2", 15.0), ("/labels/stable", 1.5)]
)
def test_a_version_or_a_label_can_be_named(http: httpx.Client, place: str, click: float) -> None:
    response = predict(http, {"instances": [ROW]}, f"/v1/models/tiny{place}:predict")
    assert response.json()["predictions"][0]["click"] == click


def test_without_a_config_only_the_latest_version_is_served(models: Path) -> None:
    with EmbeddedServer(models, port=0) as server, httpx.Client(base_url=server.url, trust_env=False) as http:
        assert [status["version"] for status in http.get("/v1/models/tiny").json()["model_version_status"]] == ["2"]
        assert predict(http, {"instances": [ROW]}, "/v1/models/tiny/versions/1:predict").status_code == 404


def test_headers(http: httpx.Client) -> None:
    assert set(http.get("/v1/models/tiny").headers) == {"content-type", "date", "content-length"}
    assert set(http.get("/v1/models/nope").headers) == {"content-type", "date", "content-length"}


def test_status(http: httpx.Client) -> None:
    response = http.get("/v1/models/tiny")
    ok = {"error_code": "OK", "error_message": ""}
    newest, oldest = ({"version": version, "state": "AVAILABLE", "status": ok} for version in ("2", "1"))
    assert response.json() == {"model_version_status": [newest, oldest]}
    assert http.get("/v1/models/tiny/versions/1").json() == {"model_version_status": [oldest]}


def test_metadata(http: httpx.Client) -> None:
    document = http.get("/v1/models/tiny/metadata").json()
    assert document["model_spec"] == {"name": "tiny", "version": "2", "signature_name": ""}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "one", "checked"} <= signatures.keys()
    price = signatures["serving_default"]["inputs"]["price"]
    assert price["dtype"] == "DT_FLOAT"
    assert price["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("/v1/models/tiny?x=1", 404, "Could not find any versions of model tiny?x=1"),
        ("/v1/models/tiny/versions/99", 404, "Could not find version 99 of model tiny"),
        ("/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        ("/v1/models/tiny/versions/99/metadata", 404, "Servable not found for request: Specific(tiny, 99)"),
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/tiny/", 400, "Malformed request: GET /v1/models/tiny/"),
        ("/v1/models/tiny:predict", 400, "Malformed request: GET /v1/models/tiny:predict"),
        ("/v1/models/tiny/labels/other/metadata", 400, "Unrecognized servable version label: other"),
        ("/v1/", 400, "Malformed request: GET /v1/"),
    ],
)
def test_get_errors(http: httpx.Client, path: str, status: int, message: str) -> None:
    response = http.get(path)
    assert response.status_code == status
    assert error(response).startswith(message)


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        ("/v1/models/tiny/versions/99:predict", 404, "Servable not found for request: Specific(tiny, 99)"),
        ("/v1/models/tiny:PREDICT", 400, "Malformed request: POST /v1/models/tiny:PREDICT"),
        ("/v1/models/tiny:predict?a=b", 400, "Malformed request: POST /v1/models/tiny:predict?a=b"),
        ("/v1/models/tiny/labels/other:predict", 400, "Unrecognized servable version label: other"),
        ("/v1/models/tiny:classify", 400, "JSON Value: {"),
        ("/v1/models/tiny:regress", 400, "JSON Value: {"),
    ],
)
def test_post_errors(http: httpx.Client, path: str, status: int, message: str) -> None:
    response = predict(http, {"instances": [ROW]}, path)
    assert response.status_code == status
    assert error(response).startswith(message)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"instances": [', "JSON Parse error: Invalid value. at offset: 15"),
        (b"", "JSON Parse error: The document is empty"),
        ({"instances": []}, "JSON Value: {"),
        ({"instances": [{"city": "rome", "price": 1.5}]}, "Failed to process element: 0 of 'instances' list."),
        ({"inputs": {"city": ["rome"], "price": [1.5]}}, "Missing named input: count in 'inputs' object."),
        (
            {"instances": [{**ROW, "price": "x"}]},
            "Failed to process element: 0 key: price of 'instances' list. Error: ",
        ),
        (
            {"instances": [{**ROW, "count": 2.5}]},
            "Failed to process element: 0 key: count of 'instances' list. Error: ",
        ),
        ({"signature_name": "nosig", "instances": [1]}, 'Serving signature name: "nosig" not found in signature def'),
        ({"signature_name": "__saved_model_init_op", "instances": [1]}, "Failed to get input map for signature: __s"),
        ({"signature_name": "checked", "instances": [1, 50]}, "assertion failed: [x too big]"),
        ({"inputs": {"city": ["a", "b"], "count": [1, 2, 3], "price": [1]}}, ""),
    ],
)
def test_predict_errors(http: httpx.Client, document: Any, message: str) -> None:
    response = predict(http, document)
    assert response.status_code == 400
    assert error(response).startswith(message)


def test_a_version_beyond_int64_has_an_empty_body(http: httpx.Client) -> None:
    response = http.get(f"/v1/models/tiny/versions/{2**63}")
    assert (response.status_code, response.content) == (400, b"")


@pytest.mark.parametrize("path", ["/", "/v1", "/healthz", "//v1/models/tiny"])
def test_other_paths_get_the_html_page(http: httpx.Client, server: EmbeddedServer, path: str) -> None:
    response = http.get(server.url + path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "text/html"
    assert "404 Not Found" in response.text


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
def test_other_methods_are_malformed(http: httpx.Client, method: str) -> None:
    response = http.request(method, "/v1/models/tiny")
    assert (response.status_code, error(response)) == (400, f"Malformed request: {method} /v1/models/tiny")
    assert http.options("/v1/models/tiny").status_code == 400


def test_gzip_bodies(http: httpx.Client) -> None:
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
    assert predict(http, body, **{"Content-Encoding": "gzip"}).json()["predictions"][0]["length"] == 6
    for bad in (b"not gzip", body[:-12], b""):
        response = predict(http, bad, **{"Content-Encoding": "gzip"})
        assert response.status_code == 400
        assert "gzip" in error(response)


def test_requests_at_the_same_time(http: httpx.Client) -> None:
    def price_times_ten(price: float) -> float:
        return float(predict(http, {"instances": [{**ROW, "price": price}]}).json()["predictions"][0]["click"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(price_times_ten, range(64))) == [10.0 * price for price in range(64)]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12))
def test_no_path_makes_the_server_fail(http: httpx.Client, server: EmbeddedServer, tail: str) -> None:
    response = http.get(server.url + "/v1/models/" + tail.replace("\\", "%5c"))
    assert response.status_code in (200, 400, 404), tail


def test_the_models_folder_must_be_one(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    empty = tmp_path / "empty"
    empty.mkdir()
    no_version = tmp_path / "no_version"
    (no_version / "model" / "latest").mkdir(parents=True)
    for path, message in [
        (tmp_path / "absent", "does not exist"),
        (file, "is not a folder"),
        (empty, "it holds no folder"),
        (no_version, "none of the folders in it holds a version folder"),
        (models / "tiny", "is itself a model or a version of one"),
        (models / "tiny" / "1", "is itself a model or a version of one"),
    ]:
        with pytest.raises(InputError, match=message):
            EmbeddedServer(path, port=0).start()


def test_a_damaged_latest_version_is_refused_at_the_start(tmp_path: Path, models: Path) -> None:
    (tmp_path / "m" / "7").mkdir(parents=True)
    with pytest.raises(InputError, match="version 7 of model 'm'"):
        EmbeddedServer(tmp_path, port=0).start()
    shutil.copytree(models / "tiny" / "1", tmp_path / "m" / "8")
    (tmp_path / "m" / "8" / "saved_model.pb").write_bytes(b"\x00garbage")
    with pytest.raises(InputError, match="version 8 of model 'm'"):
        EmbeddedServer(tmp_path, port=0).start()


def test_addresses_that_cannot_be_used(models: Path, server: EmbeddedServer) -> None:
    with pytest.raises(InputError, match=r"cannot listen on 127\.0\.0\.1"):
        EmbeddedServer(models, port=int(server.url.rsplit(":", 1)[1])).start()
    with pytest.raises(InputError, match="cannot listen on host"):
        EmbeddedServer(models, host="no such host", port=0).start()
    with pytest.raises(InputError, match="between 0 and 65535"):
        EmbeddedServer(models, port=70000)


# SIGTERM is sent every day in test_server_load.py, to a server that is at work.
@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_serve_forever_ends_in_order_on_a_signal(models: Path, stop: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = f"""
from htlnet_tf.serving import EmbeddedServer
EmbeddedServer({str(models)!r}, port={port}).serve_forever()
print("ended")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait_until_served(f"http://127.0.0.1:{port}/v1/models/tiny", process)
        process.send_signal(stop)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert "Traceback" not in err
    # As for any program: Ctrl-C is handled here, SIGTERM takes its usual effect once the server has shut down.
    assert (process.returncode, out) == ((0, "ended\n") if stop is signal.SIGINT else (-signal.SIGTERM, ""))


def _wait_until_served(url: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the server did not start: exit code {process.poll()}")


def test_it_stops_and_frees_the_port(models: Path) -> None:
    server = EmbeddedServer(models, port=0)
    with server:
        port = int(server.url.rsplit(":", 1)[1])
        httpx.get(f"{server.url}/v1/models/tiny", trust_env=False)
        threads = [thread for thread in threading.enumerate() if thread.name == "htlnet-serving"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/v1/models/tiny", trust_env=False)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    assert threads and not threads[-1].is_alive()
    server.stop()
