"""The REST clients' sockets acknowledge at once: the option is set anew for every answer."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx
import pytest

from htlnet_tf.serving import AsyncRestClient, RestClient
from htlnet_tf.serving.clients import quickack
from htlnet_tf.serving.clients.quickack import AsyncQuickAckTransport, QuickAckTransport
from tests.serving.clients.stub import METADATA

TCP_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
linux_only = pytest.mark.skipif(TCP_QUICKACK is None, reason="TCP_QUICKACK is an option of Linux")

ROWS = 4000
SCORES = [round(0.001 * i, 3) for i in range(ROWS)]
COLUMNS = {"s": ["x"] * ROWS, "i": [1] * ROWS, "f": [1.0] * ROWS}


@contextmanager
def two_piece_server() -> Iterator[str]:
    """Answers as TF Serving does: Nagle's algorithm on, the first 16 KiB in one write, the rest in another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            length = 0
            while (header := stream.readline()) != b"\r\n":
                name, value = header.split(b":", 1)
                length = int(value) if name.lower() == b"content-length" else length
            stream.read(length)
            body = json.dumps(METADATA if line.startswith(b"GET") else {"outputs": SCORES}).encode()
            answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            connection.sendall(answer[:16384])
            if len(answer) > 16384:
                connection.sendall(answer[16384:])


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens on the connections: "send", "option", "receive"."""
    happened: list[str] = []

    def noted(owner: Any, method: str, event: str, *, is_async: bool) -> None:
        original = getattr(owner, method)

        def plain(self: Any, *args: Any, **kwargs: Any) -> Any:
            happened.append(event)
            return original(self, *args, **kwargs)

        async def coroutine(self: Any, *args: Any, **kwargs: Any) -> Any:
            happened.append(event)
            return await original(self, *args, **kwargs)

        monkeypatch.setattr(owner, method, coroutine if is_async else plain)

    class Connection:
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def setsockopt(self, *option: Any) -> None:
            assert option == (socket.IPPROTO_TCP, TCP_QUICKACK, 1)
            happened.append("option")
            self.connection.setsockopt(*option)

    def spied(get: Any) -> Any:
        def extra_info(self: Any, info: str) -> Any:
            value = get(self, info)
            return Connection(value) if info == "socket" else value

        return extra_info

    for stream, is_async in ((_plain_stream(), False), (_async_stream(), True)):
        noted(stream, "write", "send", is_async=is_async)
        noted(stream, "read", "receive", is_async=is_async)
        monkeypatch.setattr(stream, "get_extra_info", spied(stream.get_extra_info))
    return happened


def _plain_stream() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = httpcore.SyncBackend().connect_tcp("127.0.0.1", listener.getsockname()[1])
        stream.close()
    return type(stream)


def _async_stream() -> Any:
    async def connect(port: int) -> Any:
        stream = await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", port)
        await stream.aclose()
        return type(stream)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return asyncio.run(connect(listener.getsockname()[1]))


def check(events: list[str]) -> None:
    """The option comes before every receive and after every send."""
    receives = [position for position, event in enumerate(events) if event == "receive"]
    assert len(receives) >= 3  # one for the metadata, two for scores
    assert {events[position - 1] for position in receives} == {"option"}
    assert events.count("option") == len(receives)
    assert "send" in events


@linux_only
def test_the_option_is_set_before_every_receive(events: list[str]) -> None:
    with two_piece_server() as url, RestClient(url, "m") as client:
        for _ in range(2):
            assert client.predict(COLUMNS)["y"].round(3).tolist() == pytest.approx(SCORES)
    check(events)


@linux_only
def test_the_option_is_set_before_every_receive_of_the_asynchronous_client(events: list[str]) -> None:
    async def run(url: str) -> None:
        async with AsyncRestClient(url, "m") as client:
            for _ in range(2):
                assert (await client.predict(COLUMNS))["y"].round(3).tolist() == pytest.approx(SCORES)

    with two_piece_server() as url:
        asyncio.run(run(url))
    check(events)


def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickack, "TCP_QUICKACK", None)
    with two_piece_server() as url, RestClient(url, "m") as client:
        assert len(client.predict(COLUMNS)) == ROWS


def test_an_option_that_the_socket_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickack, "TCP_QUICKACK", 9999)
    with two_piece_server() as url, RestClient(url, "m") as client:
        assert len(client.predict(COLUMNS)) == ROWS


def test_the_transports_are_used_where_there_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def transport(url: str) -> Any:
        with RestClient(url, "m") as client:
            return client._connections.get()._transport_for_url(httpx.URL(url))

    assert isinstance(transport("http://scores.example:8501"), QuickAckTransport)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert not isinstance(transport("http://scores.example:8501"), QuickAckTransport)
    assert isinstance(transport("http://localhost:8501"), QuickAckTransport)
    monkeypatch.setenv("no_proxy", "scores.example")
    assert isinstance(transport("http://scores.example:8501"), QuickAckTransport)

    async def asynchronous() -> Any:
        async with AsyncRestClient("http://localhost:8501", "m") as client:
            return client._connections.get()._transport_for_url(httpx.URL("http://localhost:8501"))

    assert isinstance(asyncio.run(asynchronous()), AsyncQuickAckTransport)
