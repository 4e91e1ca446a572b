"""No body makes the server fail: never a 5xx, never a traceback, and a good request is answered right after."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.model_config import config_of_folders
from htlnet_tf.serving.server.rest_api import create_app
from htlnet_tf.serving.server.servable_store import ServableStore
from tests.serving.server.fuzzing import FuzzRequest, fuzz_bodies

GOOD = FuzzRequest(
    "/v1/models/tiny:predict", {}, json.dumps({"instances": [{"city": "rome", "count": 2, "price": 1.5}]}).encode()
)
MANY = int(os.environ.get("HTLNET_FUZZ_COUNT", "10000"))


@pytest.fixture(scope="module")
def app(models: Path) -> Iterator[Starlette]:
    config = config_of_folders({"tiny": models / "tiny"})
    (model,) = config.model_config_list.config
    model.model_version_policy.all.SetInParent()
    model.version_labels["stable"] = 1
    store = ServableStore(models, config)
    store.load()
    limits = Limits(max_body_bytes=2**20, timeout_seconds=600)  # how fast the machine is, is not asked here
    yield create_app(store, limits)
    limits.close()
    store.close()


async def post(client: httpx.AsyncClient, request: FuzzRequest) -> httpx.Response:
    return await client.post(request.path, content=request.body, headers=request.headers)


async def check(app: Starlette, requests: Iterator[FuzzRequest]) -> dict[int, int]:
    """Puts the requests, eight at a time; returns how often each status was answered."""
    statuses: dict[int, int] = {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://fuzz", timeout=600) as client:

        async def worker() -> None:
            for request in requests:
                response = await post(client, request)
                assert response.status_code in (200, 400, 404, 413), (request, response.text)
                if response.status_code != 200:
                    assert json.loads(response.content.decode("utf-8", "replace")).keys() == {"error"}, request
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1

        await asyncio.gather(*(worker() for _ in range(8)))
        answer = await post(client, GOOD)
        assert answer.status_code == 200
        assert answer.json()["predictions"][0]["click"] == 15.0
    return statuses


@pytest.mark.parametrize("count", [1000, pytest.param(MANY, marks=pytest.mark.slow)])
def test_many_bodies(app: Starlette, caplog: pytest.LogCaptureFixture, count: int) -> None:
    with caplog.at_level(logging.WARNING):
        statuses = asyncio.run(check(app, fuzz_bodies(seed=0, count=count)))
    assert not caplog.records
    assert sum(statuses.values()) == count
    # The generator must reach the graph and the refusals alike, or it proves little.
    assert statuses[200] > count / 50 and statuses[400] > count / 4


def test_a_seed_gives_the_same_requests() -> None:
    assert list(fuzz_bodies(7, 50)) == list(fuzz_bodies(7, 50))
    assert list(fuzz_bodies(7, 50)) != list(fuzz_bodies(8, 50))


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
_rows = st.lists(st.fixed_dictionaries({"city": _values, "count": _values, "price": _values}) | _values, max_size=3)
_documents = st.fixed_dictionaries(
    {},
    optional={
        "instances": _rows | _values,
        "inputs": _values,
        "examples": st.lists(st.dictionaries(st.text(max_size=3), _values, max_size=3), max_size=3) | _values,
        "context": _values,
        "signature_name": st.just("one") | _values,
    },
)
_bodies = _documents.map(lambda document: json.dumps(document).encode()) | st.binary(max_size=30)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=_bodies, verb=st.sampled_from(["predict", "predict", "classify", "regress"]), packed=st.booleans())
def test_any_body(app: Starlette, body: bytes, verb: str, packed: bool) -> None:
    headers = {"Content-Encoding": "gzip"} if packed and len(body) % 5 == 0 else {}
    asyncio.run(check(app, iter([FuzzRequest(f"/v1/models/tiny:{verb}", headers, body)])))
