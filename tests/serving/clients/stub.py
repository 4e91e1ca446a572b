"""An HTTP server that answers what a test has set and keeps what it got."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

METADATA = {
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {
                        name: {"name": f"{name}:0", "dtype": dtype, "tensor_shape": {"dim": [{"size": "-1"}]}}
                        for name, dtype in [("s", "DT_STRING"), ("i", "DT_INT64"), ("f", "DT_FLOAT")]
                    },
                    "outputs": {"y": {"name": "y:0", "dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}},
                },
                "__saved_model_init_op": {"inputs": {}, "outputs": {}},
            }
        }
    }
}


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers GET with `metadata` and POST with the next of `replies`, of which the last stays.

    A reply is (status, body); None closes the connection without an answer.
    """

    protocol_version = "HTTP/1.1"
    requests: list[str]
    bodies: list[bytes]
    replies: list[tuple[int, bytes] | None]
    metadata: dict[str, Any]

    def do_GET(self) -> None:
        self.requests.append(f"GET {self.path}")
        self._answer(200, json.dumps(self.metadata).encode())

    def do_POST(self) -> None:
        self.requests.append(f"POST {self.path}")
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply is None:
            self.close_connection = True
        else:
            self._answer(*reply)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet."""


@contextmanager
def stub_server() -> Iterator[tuple[str, type[Stub]]]:
    """Runs a stub; yields its URL and its class, on which the lists are."""
    lists = {"requests": [], "bodies": [], "replies": [(200, b'{"outputs": [0.5]}')], "metadata": METADATA}
    handler = type("Handler", (Stub,), lists)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
