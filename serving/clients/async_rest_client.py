"""`RestClient` for asynchronous programs."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import httpx
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.address import ModelAddress, check_limits, rest_url
from htlnet_tf.serving.clients.calls import Call, Calls, Question
from htlnet_tf.serving.clients.connections import OwnConnections
from htlnet_tf.serving.clients.http import http_options, told_by_kind
from htlnet_tf.serving.clients.quickack import AsyncQuickAckTransport
from htlnet_tf.serving.clients.replies import parse_reply
from htlnet_tf.serving.clients.rest_client import RestClient
from htlnet_tf.serving.clients.rest_format import Request, answer_of, request_of
from htlnet_tf.serving.clients.retries import delays, is_retryable
from htlnet_tf.serving.clients.rows import Rows, User
from htlnet_tf.serving.clients.shadow import shadow_of
from htlnet_tf.serving.errors import ServingError
from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE, DEFAULT_SIGNATURE, EXCEEDANCE_SIGNATURE, Signature

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema

_Result = TypeVar("_Result")

_closing: set[asyncio.Task[None]] = set()


class AsyncRestClient:
    """`RestClient` with coroutines, for asyncio: many requests under way in one thread.

    Args, answers, retries and errors are those of `RestClient`. A client may be used in several event loops, one after
    the other or at once in several threads, and after a fork: each loop has connections of its own. Close it with
    `aclose`, or use it as an asynchronous context manager.

    Args:
      url: Base URL of the server, such as `"http://localhost:8501"`.
      model_name: Name of the model on the server.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask, such as `"stable"`; None for none.
      timeout: Seconds to wait for a connection, and for each part of an answer.
      retries: How often to send a request again.
      max_connections: At most so many connections at once in an event loop; further requests wait for one.
      verify: Whether, or with what, to verify the certificate of an https server.
      schema: As of `RestClient`.
      shadow: A label or version to ask the same in the background, as of `RestClient`.
      shadow_log: As of `RestClient`.
      shadow_keys: As of `RestClient`.

    Example:
      >>> async with AsyncRestClient("http://localhost:8501", "htlnet") as client:
      ...     scores = await client.predict(frame)

    Raises:
      InputError: An argument is not usable.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        max_connections: int = 16,
        verify: ssl.SSLContext | bool = True,
        schema: Schema | str | Path | None = None,
        shadow: str | int | None = None,
        shadow_log: str | Path | None = None,
        shadow_keys: Sequence[str] = (),
    ) -> None:
        parsed = rest_url(url)
        check_limits(timeout=timeout, retries=retries, max_connections=max_connections)
        self._url = str(parsed).rstrip("/")
        self._path = ModelAddress(model_name, version, label).path
        self._calls = Calls(self._url, schema)
        context = httpx.create_ssl_context(verify=verify)

        def connect() -> httpx.AsyncClient:
            options = http_options(
                parsed, AsyncQuickAckTransport, timeout=timeout, max_connections=max_connections, verify=context
            )
            return httpx.AsyncClient(**options)

        self._connections = OwnConnections(connect, per_loop=True)
        self._timeout = timeout
        self._retries = retries
        open_shadow = functools.partial(
            RestClient, url, model_name, timeout=timeout, retries=0, max_connections=1, verify=verify, schema=schema
        )
        self._shadow = shadow_of(
            shadow, shadow_log, shadow_keys, ModelAddress(model_name, version, label), open_shadow, timeout=timeout
        )

    async def predict(
        self, rows: Rows, signature_name: str = DEFAULT_SIGNATURE, *, row_format: bool = False
    ) -> pd.DataFrame:
        """Scores rows; arguments, result and errors as of `RestClient.predict`."""
        call = self._calls.predict(rows, signature_name, row_format=row_format)
        return await self._watched(call, "predict", rows, signature_name, row_format=row_format)

    async def predict_candidates(
        self, user: User, items: Rows, signature_name: str = CANDIDATES_SIGNATURE
    ) -> pd.DataFrame:
        """Scores many items for one user; arguments, result and errors as of `RestClient.predict_candidates`."""
        call = self._calls.predict_candidates(user, items, signature_name)
        return await self._watched(call, "predict_candidates", user, items, signature_name)

    async def rank(self, user: User, items: Rows, k: int = 10) -> pd.DataFrame:
        """The best items for one user; arguments, result and errors as of `RestClient.rank`."""
        return await self._watched(self._calls.rank(user, items, k), "rank", user, items, k)

    async def exceedance(
        self, rows: Rows, thresholds: float | Iterable[float], signature_name: str = EXCEEDANCE_SIGNATURE
    ) -> pd.DataFrame:
        """The probabilities that amounts exceed thresholds; arguments and result as of `RestClient.exceedance`."""
        call = self._calls.exceedance(rows, thresholds, signature_name)
        return await self._watched(call, "exceedance", rows, thresholds, signature_name)

    async def signature(self, name: str = DEFAULT_SIGNATURE) -> Signature:
        """The inputs and outputs of a signature; as `RestClient.signature`."""
        return await self._run(self._calls.signature(name))

    async def status(self) -> dict[str, Any]:
        """The state of the model's versions; as `RestClient.status`."""
        return await self._run(self._calls.status())

    async def metadata(self) -> dict[str, Any]:
        """The model's name, version and signatures; as `RestClient.metadata`."""
        return await self._run(self._calls.metadata())

    async def aclose(self) -> None:
        """Closes the kept connections; a shadow first ends what waits, for `timeout` seconds at most."""
        if self._shadow is not None:
            await anyio.to_thread.run_sync(self._shadow.close)
        for http, loop in self._connections.close():
            if loop is asyncio.get_running_loop():
                await http.aclose()
            elif loop is not None:
                # Its sockets belong to that loop, which another thread runs, or which runs again later.
                loop.call_soon_threadsafe(_close_in, loop, http)

    async def __aenter__(self) -> AsyncRestClient:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _watched(self, call: Call[pd.DataFrame], method: str, *arguments: Any, **named: Any) -> pd.DataFrame:
        if self._shadow is None:
            return await self._run(call)
        with self._shadow.watch(method, arguments, named) as first:
            scores = first.scores = await self._run(call)
        return scores

    async def _run(self, call: Call[_Result]) -> _Result:
        try:
            question = next(call)
            while True:
                try:
                    reply = await self._answer(question)
                except (InputError, ServingError) as error:
                    question = call.throw(error)
                else:
                    question = call.send(reply)
        except StopIteration as done:
            result: _Result = done.value
            return result

    async def _answer(self, question: Question) -> Any:
        return answer_of(question, await self._reply(request_of(question, self._path)), self._url)

    async def _reply(self, request: Request) -> dict[str, Any]:
        for delay in delays(self._retries):
            try:
                return await self._attempt(request)
            except ServingError as error:
                if not is_retryable(error):
                    raise
            await anyio.sleep(delay)
        return await self._attempt(request)

    async def _attempt(self, request: Request) -> dict[str, Any]:
        with told_by_kind(self._url, self._timeout):
            response = await self._connections.get().request(
                request.method, f"{self._url}{request.path}", content=request.body, headers=request.headers
            )
        return parse_reply(response.content, response.status_code, response.reason_phrase, self._url)


def _close_in(loop: asyncio.AbstractEventLoop, http: httpx.AsyncClient) -> None:
    closing = loop.create_task(http.aclose())
    # A loop refers weakly to its tasks.
    _closing.add(closing)
    closing.add_done_callback(_closing.discard)
