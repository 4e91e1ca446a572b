"""A server under load: timeout, full queue, large bodies, and the requests that are under way when it stops."""

from __future__ import annotations

import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import EmbeddedServer

# A turn takes about 5 microseconds.
LONG = 200_000
ENDLESS = 10**12


def slow(url: str, turns: int) -> httpx.Response:
    document = {"signature_name": "slow", "inputs": turns}
    return httpx.post(f"{url}/v1/models/tiny:predict", json=document, trust_env=False, timeout=60)


def good(url: str) -> httpx.Response:
    document = {"instances": [{"city": "rome", "count": 2, "price": 1.5}]}
    return httpx.post(f"{url}/v1/models/tiny:predict", json=document, trust_env=False, timeout=60)


def test_a_request_that_takes_too_long_is_given_up(models: Path) -> None:
    with EmbeddedServer(models, port=0, request_timeout_seconds=0.3, max_workers=1) as server:
        started = time.monotonic()
        response = slow(server.url, ENDLESS)
        assert time.monotonic() - started < 5
        assert (response.status_code, response.json()) == (504, {"error": "Timed out waiting for notification"})
        # The graph has been stopped, so the only worker is free again.
        until = time.monotonic() + 10
        while (response := good(server.url)).status_code != 200:
            assert time.monotonic() < until, response.text


def test_more_than_the_queue_holds_is_refused(models: Path) -> None:
    with (
        EmbeddedServer(models, port=0, max_workers=1, max_queue=2, request_timeout_seconds=20) as server,
        ThreadPoolExecutor(12) as pool,
    ):
        responses = list(pool.map(lambda _: slow(server.url, LONG), range(12)))
        refused = [response for response in responses if response.status_code == 503]
        assert 12 - len(refused) >= 3 and len(refused) >= 3
        assert {response.status_code for response in responses} == {200, 503}
        assert refused[0].json() == {
            "error": "The batch scheduling queue to which this task was submitted is full; "
            "currently 2 batches enqueued and max_enqueued_batches is 2"
        }
        assert good(server.url).status_code == 200


def test_slow_requests_do_not_hold_up_the_status(models: Path) -> None:
    with (
        EmbeddedServer(models, port=0, max_workers=1, request_timeout_seconds=3) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        waiting = [pool.submit(slow, server.url, ENDLESS) for _ in range(4)]
        time.sleep(0.2)
        started = time.monotonic()
        for path in ("/v1/models/tiny", "/v1/models/tiny/metadata", "/monitoring/prometheus/metrics", "/"):
            assert httpx.get(server.url + path, trust_env=False).status_code in (200, 404)
        assert time.monotonic() - started < 1.5
        assert [response.result().status_code for response in waiting] == [504] * 4


def test_large_bodies_are_refused(models: Path) -> None:
    with EmbeddedServer(models, port=0, max_body_bytes=100_000) as server:
        url = f"{server.url}/v1/models/tiny:predict"
        fits = b'{"signature_name": "one", "instances": [[1.0]]}'.ljust(100_000)
        zipped = {"Content-Encoding": "gzip"}
        with httpx.Client(trust_env=False, timeout=20) as http:
            for body, headers, status in (
                (fits, {}, 200),
                (fits + b" ", {}, 413),
                (b" " * 5_000_000, {}, 413),
                (gzip.compress(fits), zipped, 200),
                (gzip.compress(b" " * 50_000_000), zipped, 413),
            ):
                response = http.post(url, content=body, headers=headers)
                assert response.status_code == status
                assert status == 200 or "at most 100000 bytes" in response.json()["error"]
            assert http.post(url, content=iter([fits, b" "])).status_code == 413  # of no declared length


def test_a_body_that_stalls_is_given_up(models: Path) -> None:
    with EmbeddedServer(models, port=0, request_timeout_seconds=0.3) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            received = b"".join(iter(lambda: connection.recv(4096), b""))  # to the end: the server hangs up
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.3 s" in received
        assert good(server.url).status_code == 200


def test_a_client_that_leaves_early_does_no_harm(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with EmbeddedServer(models, port=0) as server:
        host, port = server.url.removeprefix("http://").split(":")
        head = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        for sent in (head, head + b'{"inst', b"garbage\r\n\r\n", b"", head + b"x" * 200):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
        assert good(server.url).status_code == 200
    assert "Traceback" not in capfd.readouterr().err


def test_stopping_finishes_the_requests_under_way(models: Path) -> None:
    server = EmbeddedServer(models, port=0)
    others = set(threading.enumerate())  # workers of other tests' servers among them
    with server, ThreadPoolExecutor(3) as pool:
        url = server.url
        waiting = [pool.submit(slow, url, LONG) for _ in range(3)]
        until = time.monotonic() + 20
        while sum(t.name.startswith("htlnet-worker") for t in set(threading.enumerate()) - others) < 3:
            assert time.monotonic() < until
            time.sleep(0.005)
        server.stop()
        assert [response.result().json() for response in waiting] == [{"outputs": LONG}] * 3
    with pytest.raises(httpx.ConnectError):
        good(url)
    server.start()  # it can be started again
    assert good(server.url).status_code == 200
    server.stop()


def test_sigterm_finishes_the_requests_under_way(models: Path) -> None:
    program = f"""
from htlnet_tf.serving import EmbeddedServer
EmbeddedServer({str(models)!r}, port=0).serve_forever(on_ready=lambda line: print(line, flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answers: list[Any] = []
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split(" at ")[1].split(" ")[0]
        thread = threading.Thread(target=lambda: answers.append(slow(url, 4 * LONG).json()))
        thread.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        thread.join(60)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert answers == [{"outputs": 4 * LONG}]
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in errors


def test_the_metrics_page(models: Path) -> None:
    with EmbeddedServer(models, port=0) as server:
        good(server.url)
        slow(server.url, 1)
        httpx.post(f"{server.url}/v1/models/tiny:predict", content=b"{", trust_env=False)
        response = httpx.get(f"{server.url}/monitoring/prometheus/metrics", trust_env=False)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/plain"
        assert ':tensorflow:serving:request_count{model_name="tiny",status="OK"} 2' in response.text
        assert ':tensorflow:serving:request_count{model_name="tiny",status="INVALID_ARGUMENT"} 1' in response.text


@pytest.mark.parametrize(
    "options",
    [
        {"request_timeout_seconds": 0},
        {"max_workers": 0},
        {"max_queue": -1},
        {"max_body_bytes": 0},
        {"file_system_poll_wait_seconds": -1},
        {"model_config_file_poll_wait_seconds": -0.5},
        {"shutdown_grace_seconds": float("nan")},
        {"grpc_port": 65536},
    ],
)
def test_arguments_out_of_range(models: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be"):
        EmbeddedServer(models, port=0, **options)


def test_grpc_beside_rest(models: Path) -> None:
    grpc = pytest.importorskip("grpc")
    with EmbeddedServer(models, port=0, grpc_port=0) as server:
        assert server.grpc_target is not None and not server.grpc_target.endswith(":0")
        with grpc.insecure_channel(server.grpc_target) as channel:
            grpc.channel_ready_future(channel).result(10)
        assert json.loads(good(server.url).text)["predictions"][0]["click"] == 15.0
