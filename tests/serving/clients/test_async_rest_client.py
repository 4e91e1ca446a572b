"""The asynchronous REST client answers, refuses and retries as the blocking one does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pandas as pd
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import (
    AsyncRestClient,
    ConnectionFailedError,
    EmbeddedServer,
    RefusedError,
    RestClient,
    TimedOutError,
)
from tests.serving.clients.stub import stub_server

FRAME = pd.DataFrame({"city": ["rome", ""], "count": [2, -1], "price": [1.5, 2]}, index=["a", "b"])
ONE_ROW = {"s": ["x"], "i": [1], "f": [1.0]}
Use = Callable[[AsyncRestClient], Awaitable[Any]]


def run(url: str, name: str, use: Use, **options: Any) -> Any:
    async def main() -> Any:
        async with AsyncRestClient(url, name, **options) as client:
            return await use(client)

    return asyncio.run(main())


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("htlnet_tf.serving.clients.async_rest_client.anyio.sleep", sleep)
    return waits


def test_it_answers_as_the_blocking_client(server: EmbeddedServer) -> None:
    async def use(client: AsyncRestClient) -> list[Any]:
        return [
            await client.predict(FRAME),
            await client.predict(FRAME, row_format=True),
            await client.predict({"x": [1.0]}, "one"),
            await client.status(),
            (await client.metadata())["model_spec"],
            await client.signature("one"),
        ]

    found = run(server.url, "tiny", use)
    with RestClient(server.url, "tiny") as client:
        expected = [
            client.predict(FRAME),
            client.predict(FRAME, row_format=True),
            client.predict({"x": [1.0]}, "one"),
            client.status(),
            client.metadata()["model_spec"],
            client.signature("one"),
        ]
    for mine, other in zip(found, expected, strict=True):
        if isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(mine, other)
        else:
            assert mine == other


def test_candidates(ranker_server: EmbeddedServer) -> None:
    items = pd.DataFrame({"item": [1, 7], "price": [10.0, 0.5]})
    scores = run(ranker_server.url, "ranker", lambda c: c.predict_candidates({"age": 2, "user": "anna"}, items))
    assert scores["buy"].tolist() == [21.0, 8.0]


def test_many_requests_at_once_in_one_thread(server: EmbeddedServer) -> None:
    async def use(client: AsyncRestClient) -> list[pd.DataFrame]:
        return await asyncio.gather(*(client.predict(FRAME.assign(price=float(i))) for i in range(40)))

    answers = run(server.url, "tiny", use, version=1, max_connections=4)
    assert [scores["click"].tolist() for scores in answers] == [[float(i)] * 2 for i in range(40)]


@pytest.mark.parametrize("failure", [(503, b'{"error": "queue is full"}'), None], ids=["503", "broken connection"])
def test_what_may_pass_is_tried_again(no_waiting: list[float], failure: tuple[int, bytes] | None) -> None:
    with stub_server() as (url, handler):
        handler.replies = [failure, failure, (200, b'{"outputs": [0.25]}')]
        assert run(url, "m", lambda c: c.predict(ONE_ROW), label="stable")["y"].tolist() == [0.25]
    assert len(handler.bodies) == 3 and len(no_waiting) == 2
    assert handler.requests[-1] == "POST /v1/models/m/labels/stable:predict"
    assert json.loads(handler.bodies[-1])["inputs"] == {"f": [1.0], "i": [1], "s": ["x"]}


@pytest.mark.parametrize(("status", "kind"), [(400, RefusedError), (500, RefusedError), (504, TimedOutError)])
def test_what_will_not_pass_is_not_tried_again(no_waiting: list[float], status: int, kind: type[Exception]) -> None:
    with stub_server() as (url, handler):
        handler.replies = [(status, b'{"error": "no"}')]
        with pytest.raises(kind, match=rf"^no \(HTTP {status}\)$"):
            run(url, "m", lambda c: c.predict(ONE_ROW))
    assert len(handler.bodies) == 1 and no_waiting == []


def test_no_server_and_one_that_is_silent(no_waiting: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TimedOutError, match=r"within 0\.1 s"):
            run(url, "m", lambda c: c.status(), timeout=0.1)
    assert no_waiting == []
    with pytest.raises(ConnectionFailedError, match="no server answers at http://127"):
        run(url, "m", lambda c: c.status(), retries=1)
    assert len(no_waiting) == 1


def test_input_that_does_not_fit_is_refused(server: EmbeddedServer) -> None:
    with pytest.raises(InputError, match="column 'count' is missing"):
        run(server.url, "tiny", lambda c: c.predict(FRAME.drop(columns="count")))
    with pytest.raises(InputError, match="a version or a label can be named, not both"):
        AsyncRestClient(server.url, "tiny", version=1, label="stable")
