"""TF Serving's REST API over a store of servables, as an ASGI application."""

from __future__ import annotations

import json
import logging
import re
import zlib
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.json_codec import decode_predict, encode_predict, signature_name
from htlnet_tf.serving.json_parse import parse_object, refuse_number_overflow
from htlnet_tf.serving.json_print import error_body
from htlnet_tf.serving.servable_store import ServableStore

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

# A small gzip body can inflate to fill the memory; no honest predict request comes near this.
_MAX_INFLATED_BYTES = 256 * 2**20

_NOT_FOUND_PAGE = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


class _VersionOverflowError(Exception):
    pass


def create_app(store: ServableStore) -> Starlette:
    """Makes the ASGI application.

    Args:
      store: The servables to answer with.

    Returns:
      The application. It answers status, metadata and predict; classify, regress and version labels are refused.
    """
    return Starlette(routes=[Mount("/", app=RestApi(store))])


class RestApi:
    """ASGI endpoint of every path.

    Args:
      store: The servables to answer with.
    """

    def __init__(self, store: ServableStore) -> None:
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (ASGI)."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            _logger.debug("a client left before its request was complete")
            return
        path = _path_and_query(scope)
        if not _DISPATCH.fullmatch(path):
            # libevent's own page, for whatever TF Serving has no handler for.
            response = Response(_NOT_FOUND_PAGE, 404, {"content-type": "text/html", "connection": "close"})
        elif request.method == "OPTIONS":
            # Without --rest_api_enable_cors_support.
            response = Response(b"", 400, {"content-type": "text/html; charset=ISO-8859-1"})
        else:
            # The graph runs, and JSON is read, in a worker thread: the event loop must stay free for other requests.
            encoding = request.headers.get("content-encoding", "")
            status, content = await run_in_threadpool(self._answer, request.method, path, encoding, body)
            response = Response(content, status, media_type="application/json")
        await response(scope, receive, send)

    def _answer(self, method: str, path: str, encoding: str, body: bytes) -> tuple[int, bytes]:
        try:
            return 200, self._dispatch(method, path, encoding, body)
        except _VersionOverflowError:
            return 400, b""
        except StatusError as error:
            return error.http_status, error_body(error.message)
        except RecursionError:
            return 400, error_body("The request is nested too deeply.")
        except Exception:
            # A fault of the server: the log gets the traceback, the caller one sentence.
            _logger.exception("%s %s failed", method, path)
            return 500, error_body("Internal error; the server's log has the details.")

    def _dispatch(self, method: str, path: str, encoding: str, body: bytes) -> bytes:
        if method == "POST" and (match := _PREDICTION.fullmatch(path)):
            name, version, label, verb = match.groups()
            if verb in ("classify", "regress", "predict"):  # the pattern folds case, the verb does not
                return self._prediction(unquote(name), _version(version), label, verb, _inflated(body, encoding))
        elif method == "GET" and (match := _STATUS.fullmatch(path)):
            name, version, label, metadata = match.groups()
            number = _version(version)
            if name is None:
                raise invalid_argument("Missing model name in request.")
            if metadata is not None:
                return self._metadata(unquote(name), number, label)
            # TF Serving does not consult the label here and tells about all versions.
            return self._status(unquote(name), number)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _prediction(self, name: str, version: int | None, label: str | None, verb: str, body: bytes) -> bytes:
        if verb != "predict":
            raise StatusError("UNIMPLEMENTED", f"This server does not answer :{verb}; it answers :predict.")
        document = parse_object(body)
        key = signature_name(document)
        _refuse_label(label)
        servable = self._store.get(name, version)
        feeds, rows = decode_predict(document, servable.signature(key).inputs)
        refuse_number_overflow(body, feeds)
        return encode_predict(servable.run(key, feeds), rows=rows)

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
        _refuse_label(label)
        servable = self._store.get(name, version)
        number = self._store.latest(name) if version is None else version
        spec = _json({"name": name, "version": str(number), "signature_name": ""})
        signatures = _json({"signature_def": servable.signature_defs})
        return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {signatures}\n}}\n}}\n'.encode()


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


def _refuse_label(label: str | None) -> None:
    if label is not None:
        raise invalid_argument(
            f"Unrecognized servable version label: {unquote(label)} (this server has no version labels: name a version)"
        )


def _inflated(body: bytes, encoding: str) -> bytes:
    if encoding.strip().lower() != "gzip":
        return body
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: expect the gzip header
    try:
        inflated = inflater.decompress(body, _MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise invalid_argument(f"The gzip request body cannot be inflated: {error}") from error
    if inflater.unconsumed_tail:
        raise invalid_argument(f"The gzip request body inflates to more than {_MAX_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise invalid_argument("The gzip request body cannot be inflated: it ends early")
    return inflated
