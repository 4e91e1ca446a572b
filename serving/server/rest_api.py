"""TF Serving's REST API over a store of servables, as an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import zlib
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.inference import classify, regress
from htlnet_tf.serving.server.json_codec import decode_predict, encode_predict, signature_name
from htlnet_tf.serving.server.json_parse import parse_object, refuse_number_overflow
from htlnet_tf.serving.server.json_print import error_body
from htlnet_tf.serving.server.limits import Limits
from htlnet_tf.serving.server.monitoring import METRICS_PATH, Metrics
from htlnet_tf.serving.server.servable_store import ServableStore
from htlnet_tf.serving.server.tf_examples import decode_examples, encode_classifications, encode_regressions

_logger = logging.getLogger(__name__)

# TF Serving, model_servers/http_rest_api_util.cc. They are matched against the path as sent, query string included;
# `\d` and case folding are those of RE2 on bytes, hence ASCII.
_FLAGS = re.IGNORECASE | re.ASCII
_DISPATCH = re.compile(r"/v1/.*", _FLAGS | re.DOTALL)
_PREDICTION = re.compile(
    r"/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)", _FLAGS
)
_STATUS = re.compile(r"/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?", _FLAGS)

_MAX_INT64 = 2**63 - 1

_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"

# A body beyond the limit is read on, without keeping it, up to so many times the limit: a client that is still
# sending would see a broken connection and not the answer.
_DISCARDED = 16


class _VersionOverflowError(Exception):
    pass


class _BodyTooLargeError(Exception):
    pass


def create_app(store: ServableStore, limits: Limits | None = None, metrics: Metrics | None = None) -> Starlette:
    """Makes the ASGI application.

    Args:
      store: The servables to answer with.
      limits: Runs the requests; None for the default limits.
      metrics: Counts the requests; None for counts of its own.

    Returns:
      The application.
    """
    return Starlette(routes=[Mount("/", app=RestApi(store, limits or Limits(), metrics or Metrics()))])


class RestApi:
    """ASGI endpoint of every path.

    Args:
      store: The servables to answer with.
      limits: Runs predict, classify and regress. Status and metadata are answered at once, whatever else is going on.
      metrics: Counts the requests, and is what `/monitoring/prometheus/metrics` shows.
    """

    def __init__(self, store: ServableStore, limits: Limits, metrics: Metrics) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (ASGI)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request, _path_and_query(scope))
        except ClientDisconnect:
            _logger.debug("a client left before its request was complete")
            return
        await response(scope, receive, send)

    async def _respond(self, request: Request, path: str) -> Response:
        try:
            # TF Serving waits for the rest of a body as long as the client likes; a few of those would fill the memory.
            body = await asyncio.wait_for(self._body(request), self._limits.timeout_seconds)
        except asyncio.TimeoutError:  # not yet the built-in one in Python 3.10
            content = error_body(f"The request body did not arrive within {self._limits.timeout_seconds:g} s.")
            return Response(content, 408, {"connection": "close"}, media_type="application/json")
        except _BodyTooLargeError:
            content = error_body(f"A request body may have at most {self._limits.max_body_bytes} bytes.")
            return Response(content, 413, {"connection": "close"}, media_type="application/json")
        if path == METRICS_PATH and request.method == "GET":
            return Response(self._metrics.render(self._store), 200, {"content-type": "text/plain"})
        if not _DISPATCH.fullmatch(path):
            # libevent's own page, for whatever TF Serving has no handler for.
            return Response(_NOT_FOUND_PAGE, 404, {"content-type": "text/html", "connection": "close"})
        if request.method == "OPTIONS":
            # Without --rest_api_enable_cors_support.
            return Response(b"", 400, {"content-type": "text/html; charset=ISO-8859-1"})
        status, content = await self._answer(request, path, body)
        return Response(content, status, media_type="application/json")

    async def _body(self, request: Request) -> bytes:
        limit = self._limits.max_body_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= limit:
                chunks.append(chunk)
            elif size <= _DISCARDED * limit:
                chunks.clear()
            else:
                break
        if size > limit:
            raise _BodyTooLargeError
        return b"".join(chunks)

    async def _answer(self, request: Request, path: str, body: bytes) -> tuple[int, bytes]:
        started = time.perf_counter()
        match = _PREDICTION.fullmatch(path)
        code, status = "OK", 200
        try:
            content = await self._dispatch(request, path, body)
        except _VersionOverflowError:
            code, status, content = "INVALID_ARGUMENT", 400, b""
        except _BodyTooLargeError:
            code, status = "INVALID_ARGUMENT", 413
            content = error_body(f"A request body may inflate to at most {self._limits.max_body_bytes} bytes.")
        except StatusError as error:
            code, status, content = error.code, error.http_status, error_body(error.message)
        except RecursionError:
            code, status, content = "INVALID_ARGUMENT", 400, error_body("The request is nested too deeply.")
        except Exception:
            # A fault of the server: the log gets the traceback, the caller one sentence.
            _logger.exception("%s %s failed", request.method, path)
            code, status = "INTERNAL", 500
            content = error_body("Internal error; the server's log has the details.")
        match = match or _STATUS.fullmatch(path)
        if match:
            api = match[4] if match.re is _PREDICTION else ""
            self._metrics.record(api, "REST", unquote(match[1] or ""), code, time.perf_counter() - started)
        return status, content

    async def _dispatch(self, request: Request, path: str, body: bytes) -> bytes:
        method = request.method
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            name, version, label, verb = match.groups()
            if verb in _VERBS:  # the pattern folds case, the verb does not
                number = _version(version)
                model, wanted = unquote(name), None if label is None else unquote(label)
                encoding = request.headers.get("content-encoding", "")
                # The graph runs, and JSON is read, in a worker thread: the event loop must stay free for others.
                return await self._limits.run(
                    lambda: _VERBS[verb](self, model, number, wanted, self._inflated(body, encoding))
                )
        elif method == "GET" and (match := _STATUS.fullmatch(path)):
            name, version, label, metadata = match.groups()
            number = _version(version)
            if name is None:
                raise invalid_argument("Missing model name in request.")
            if metadata is not None:
                return self._metadata(unquote(name), number, None if label is None else unquote(label))
            # TF Serving does not consult the label here and tells about all versions.
            return self._status(unquote(name), number)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        document = parse_object(body)
        key = signature_name(document)
        resolved = self._store.resolve(name, version=version, label=label)
        feeds, rows = decode_predict(document, resolved.servable.signature(key).inputs)
        refuse_number_overflow(body, feeds)
        started = time.perf_counter()
        outputs = resolved.servable.run(key, feeds)
        self._metrics.record_runtime("Predict", name, time.perf_counter() - started)
        return encode_predict(outputs, rows=rows)

    def _classify(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        key, examples = _examples(body)
        resolved = self._store.resolve(name, version=version, label=label)
        started = time.perf_counter()
        result = classify(resolved.servable, key, examples)
        self._metrics.record_runtime("Classify", name, time.perf_counter() - started)
        return encode_classifications(result)

    def _regress(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        key, examples = _examples(body)
        resolved = self._store.resolve(name, version=version, label=label)
        started = time.perf_counter()
        values = regress(resolved.servable, key, examples)
        self._metrics.record_runtime("Regress", name, time.perf_counter() - started)
        return encode_regressions(values)

    def _status(self, name: str, version: int | None) -> bytes:
        statuses = [
            {
                "version": str(status.version),
                "state": status.state,
                "status": {"error_code": status.error_code, "error_message": status.error_message},
            }
            for status in self._store.status(name, version)
        ]
        return f"{_json({'model_version_status': statuses})}\n".encode()

    def _metadata(self, name: str, version: int | None, label: str | None) -> bytes:
        resolved = self._store.resolve(name, version=version, label=label)
        spec = _json({"name": name, "version": str(resolved.version), "signature_name": ""})
        signatures = _json({"signature_def": resolved.servable.signature_defs})
        return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {signatures}\n}}\n}}\n'.encode()

    def _inflated(self, body: bytes, encoding: str) -> bytes:
        if encoding.strip().lower() != "gzip":
            return body
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: expect the gzip header
        try:
            inflated = inflater.decompress(body, self._limits.max_body_bytes)
        except zlib.error as error:
            raise invalid_argument(f"The gzip request body cannot be inflated: {error}") from error
        if inflater.unconsumed_tail:
            raise _BodyTooLargeError
        if not inflater.eof:
            raise invalid_argument("The gzip request body cannot be inflated: it ends early")
        return inflated


_VERBS = {"predict": RestApi._predict, "classify": RestApi._classify, "regress": RestApi._regress}


def _examples(body: bytes) -> tuple[str, Any]:
    document = parse_object(body)
    key = signature_name(document)
    return key, decode_examples(document)


def _json(value: Any) -> str:
    # One blank per level, as protobuf prints JSON.
    return json.dumps(value, indent=1)


def _path_and_query(scope: Scope) -> str:
    raw = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        raw += b"?" + scope["query_string"]
    return raw.decode("latin-1")


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > _MAX_INT64:
        raise _VersionOverflowError
    return int(digits)
