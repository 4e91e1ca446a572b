"""Clients in processes that were forked after they had been used, and in several event loops."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
from typing import Any

import pytest

from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, RestClient
from htlnet_tf.serving.clients.connections import OwnConnections

# Each thread of each child asks for other rows, over and over: buy = age * price + item says whose the answer is.
PROGRAM = """
import json, os, sys, threading
{imports}

def rows(key):
    items = list(range(100 * key, 100 * key + 20))
    return {{"age": [2.0] * 20, "user": ["anna"] * 20, "item": items, "price": [10.0] * 20}}

def ask(key, found):
    try:
        for _ in range(5):
            scores = {predict}
            assert scores["buy"].tolist() == [20.0 + item for item in rows(key)["item"]], "other rows' scores"
    except BaseException as error:
        found.append(f"{{type(error).__name__}}: {{error}}")

def in_threads(keys):
    found = []
    threads = [threading.Thread(target=ask, args=(key, found)) for key in keys]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return found

client = {make}
{first}
children = []
for part in range(3):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(in_threads(range(4 * part, 4 * part + 4))).encode())
        os._exit(0)
    os.close(writing)
    children.append(reading)
said = [json.loads(b"".join(iter(lambda: os.read(one, 4096), b"")) or '["gone"]') for one in children]
print(json.dumps([sum(said, []), in_threads(range(12, 16))]))
"""


def errors(**parts: str) -> tuple[list[str], list[str]]:
    """What the threads of the children and, afterwards, those of the parent complained of."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"} | json.loads(parts.pop("environment", "{}"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(**parts)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    children, parent = json.loads(done.stdout.splitlines()[-1])
    return children, parent


def test_a_rest_client_opens_its_own_connections_after_a_fork(ranker_server: EmbeddedServer) -> None:
    assert errors(
        imports="from htlnet_tf.serving import RestClient",
        make=f"RestClient('{ranker_server.url}', 'ranker')",
        predict="client.predict(rows(key))",
        first="assert in_threads(range(4)) == []",  # so many connections are open
    ) == ([], [])


def test_an_asynchronous_client_too(ranker_server: EmbeddedServer) -> None:
    assert errors(
        imports="import asyncio\nfrom htlnet_tf.serving import AsyncRestClient",
        make=f"AsyncRestClient('{ranker_server.url}', 'ranker')",
        predict="asyncio.run(client.predict(rows(key)))",
        first="assert in_threads(range(4)) == []",
    ) == ([], [])


GRPC = {"imports": "import htlnet_tf\nfrom htlnet_tf.serving import GrpcClient", "predict": "client.predict(rows(key))"}


@pytest.mark.slow
def test_a_grpc_client_where_grpc_supports_forks(ranker_server: EmbeddedServer) -> None:
    assert errors(
        **GRPC,
        make=f"GrpcClient('{ranker_server.grpc_target}', 'ranker')",
        first="assert in_threads(range(4)) == []",
        environment='{"GRPC_ENABLE_FORK_SUPPORT": "1"}',
    ) == ([], [])


@pytest.mark.slow
def test_a_grpc_client_says_that_grpc_does_not_outlive_a_fork(ranker_server: EmbeddedServer) -> None:
    make = f"GrpcClient('{ranker_server.grpc_target}', 'ranker')"
    children, parent = errors(
        imports=f"{GRPC['imports']}\nnew_client = lambda: {make}",
        make="new_client()",
        # In the children the client of the parent, and one made there.
        predict="(client if os.getpid() == parent or key % 2 else new_client()).predict(rows(key))",
        first="parent = os.getpid(); assert in_threads(range(4)) == []",
        environment='{"GRPC_ENABLE_FORK_SUPPORT": "0"}',
    )
    assert len(children) == 12 and parent == []
    assert set(children) == {
        "InputError: gRPC was used before this process was forked, and does not work in it: make the first GrpcClient "
        "after the fork, set GRPC_ENABLE_FORK_SUPPORT=1 before grpc is imported, or use RestClient"
    }


def test_a_client_in_several_event_loops(ranker_server: EmbeddedServer) -> None:
    rows = {"age": [2.0], "user": ["anna"], "item": [1], "price": [10.0]}
    client = AsyncRestClient(ranker_server.url, "ranker")

    async def use() -> float:
        scores = await asyncio.gather(*(client.predict(rows) for _ in range(4)))
        return float(scores[0]["buy"].sum())

    assert [asyncio.run(use()) for _ in range(3)] == [21.0] * 3  # one after the other
    found: list[float] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(use()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [21.0] * 3  # at once

    async def close() -> None:
        kept = client._connections.get()
        await client.predict(rows)
        await client.aclose()
        assert kept.is_closed
        with pytest.raises(RuntimeError, match="has been closed"):
            await client.predict(rows)

    asyncio.run(close())


def test_closing_from_another_loop_closes_where_the_connections_belong(ranker_server: EmbeddedServer) -> None:
    rows = {"age": [2.0], "user": ["anna"], "item": [1], "price": [10.0]}
    client = AsyncRestClient(ranker_server.url, "ranker")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(client.predict(rows), loop).result(20)

        async def connections() -> Any:
            return client._connections.get()

        other = asyncio.run_coroutine_threadsafe(connections(), loop).result(20)
        asyncio.run(client.aclose())

        async def is_closed() -> bool:
            for _ in range(500):
                if other.is_closed:
                    return True
                await asyncio.sleep(0.01)
            return False

        assert asyncio.run_coroutine_threadsafe(is_closed(), loop).result(20)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("kind", [RestClient, AsyncRestClient])
def test_a_process_that_was_forked_makes_no_tls_context(
    kind: type[RestClient | AsyncRestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threads of such a process that make contexts at once were seen to wait for ever in OpenSSL 3.0.
    client = kind("https://localhost:1", "m")
    made: list[str] = []
    for name in ("__new__", "__init__"):
        original = getattr(ssl.SSLContext, name)
        monkeypatch.setattr(ssl.SSLContext, name, lambda *args, **kw: made.append("one") or original(*args, **kw))  # noqa: B023
    client._connections._make()
    assert made == []


def test_connections_of_a_parent_and_of_closed_loops_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter(range(10))
    of_loops: OwnConnections[int] = OwnConnections(lambda: next(made), per_loop=True)

    async def get() -> int:
        assert of_loops.get() == of_loops.get()
        return of_loops.get()

    assert [asyncio.run(get()) for _ in range(3)] == [0, 1, 2]
    assert list(of_loops._made.values()) == [2]
    for keep, inherited in ((False, None), (True, [3])):
        made = iter(range(3, 10))
        of_process: OwnConnections[int] = OwnConnections(lambda: next(made), keep_inherited=keep)  # noqa: B023
        assert of_process.get() == 3
        with monkeypatch.context() as patch:
            patch.setattr("os.getpid", lambda: -1)
            assert of_process.get() == 4 and list(of_process._made.values()) == [4]
            assert of_process._inherited == inherited
