"""The REST client: what it sends, what it refuses before sending, and how it tells what a server said."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import EmbeddedServer, RestClient, ServingError

ROWS = [{"city": "rome", "count": 2, "price": 1.5}, {"city": "", "count": -1, "price": 2}]
FRAME = pd.DataFrame(ROWS, index=["a", "b"])

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


class Recorder(http.server.BaseHTTPRequestHandler):
    """Keeps the bodies it gets and answers what the test has set."""

    bodies: list[bytes]
    reply: tuple[int, bytes]

    def do_GET(self) -> None:
        self._answer(200, json.dumps(METADATA).encode())

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.reply)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet."""


@pytest.fixture
def recorder() -> Iterator[tuple[RestClient, type[Recorder]]]:
    handler = type("Handler", (Recorder,), {"bodies": [], "reply": (200, b'{"outputs": [0.5]}')})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as stub:
        threading.Thread(target=stub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        with RestClient(f"http://127.0.0.1:{stub.server_port}/", "m", timeout=5) as client:
            yield client, handler
        stub.shutdown()


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[RestClient]:
    with RestClient(server.url, "tiny") as running:
        yield running


def sent(recorder: tuple[RestClient, type[Recorder]], **columns: Any) -> dict[str, Any]:
    client, handler = recorder
    size = len(next(iter(columns.values())))
    handler.reply = (200, json.dumps({"outputs": [0.5] * size}).encode())
    client.predict({"s": [""] * size, "i": [0] * size, "f": [0.0] * size, **columns})
    return dict(json.loads(handler.bodies[-1])["inputs"])


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        pd.DataFrame(ROWS),
        {"city": ["rome", ""], "count": np.array([2, -1]), "price": pd.Series([1.5, 2.0])},
        {"city": np.array(["rome", ""]), "count": (2, -1), "price": np.array([1.5, 2], np.float32)},
    ],
    ids=["rows", "frame", "columns", "arrays"],
)
def test_scores(client: RestClient, rows: Any) -> None:
    scores = client.predict(rows)
    expected = pd.DataFrame(
        {
            "city": ["rome", ""],
            "click": np.array([15.0, 20.0], np.float32),
            "length": np.array([6, -1], np.int64),
            "probs_0": np.array([1.5, 2.0], np.float32),
            "probs_1": np.array([3.0, 4.0], np.float32),
        }
    )
    pd.testing.assert_frame_equal(scores, expected, check_dtype=False)
    assert scores["click"].dtype == np.float32 and scores["length"].dtype == np.int64


def test_a_frame_keeps_its_index_and_its_other_columns_are_left_out(client: RestClient) -> None:
    frame = FRAME.assign(label=1, id=[object(), object()])[["id", "price", "label", "count", "city"]]
    assert client.predict(frame).index.tolist() == ["a", "b"]
    assert client.predict(frame[::-1])["click"].tolist() == [20.0, 15.0]


def test_one_output_and_inputs_of_one_column(client: RestClient) -> None:
    scores = client.predict({"x": [1.0, 2.5]}, signature_name="one")
    assert scores.columns.tolist() == ["y_0"] and scores["y_0"].tolist() == [2.0, 5.0]
    assert client.predict([{"x": 3}], "checked").to_dict("list") == {"x_out": [3.0]}


def test_a_version_can_be_named(server: EmbeddedServer) -> None:
    with RestClient(server.url, "tiny", version=1) as client:
        assert client.predict(FRAME)["click"].tolist() == [1.5, 2.0]
        assert [entry["version"] for entry in client.status()["model_version_status"]] == ["1"]
        assert client.metadata()["model_spec"]["version"] == "1"


def test_values_by_type(recorder: tuple[RestClient, type[Recorder]]) -> None:
    nan = float("nan")
    strings = ["x", 7, np.int64(8), 3.0, None, nan, pd.NA, pd.NaT, b"\xff"]
    assert sent(recorder, s=strings)["s"] == ["x", "7", "8", "3", "", "", "", "", {"b64": "/w=="}]
    assert sent(recorder, i=[1, 2.0, np.int32(3), None, nan, pd.NA])["i"] == [1, 2, 3] + [-(2**63)] * 3
    floats = sent(recorder, f=[1, 2.5, np.float32(0.5), None, float("inf")])["f"]
    np.testing.assert_array_equal(floats, [1, 2.5, 0.5, nan, np.inf])
    frame = pd.DataFrame({"s": pd.Categorical(["a", None]), "i": pd.array([1, None], dtype="Int64"), "f": [1, 2]})
    client, handler = recorder
    handler.reply = (200, b'{"outputs": [1.0, 2.0]}')
    client.predict(frame)
    assert json.loads(handler.bodies[-1]) == {
        "signature_name": "serving_default",
        "inputs": {"s": ["a", ""], "i": [1, -(2**63)], "f": [1, 2]},
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (FRAME.drop(columns="count"), "column 'count' is missing: .* has 'city', 'price'"),
        ([ROWS[0], {"city": "x", "price": 1}], "column 'count' is missing in row 1"),
        ({"city": ["x"], "price": [1]}, "column 'count' is missing"),
        ([ROWS[0], {**ROWS[1], "cuont": 1}], "column 'cuont' in row 1 is unknown"),
        ({"city": ["x"], "price": [1], "count": [1], "z": [1]}, "column 'z' is unknown"),
        (
            [ROWS[0], {**ROWS[1], "price": "cheap"}],
            r"column 'price' must hold float values, but row 1 holds 'cheap' \(str\)",
        ),
        ([ROWS[0], {**ROWS[1], "price": [1.0]}], r"column 'price' must hold float values, but row 1 holds \[1.0\]"),
        ([{**ROWS[0], "count": 2.5}], r"column 'count' must hold int64 values, but row 0 holds 2.5 \(float\)"),
        ([{**ROWS[0], "count": "2"}], "column 'count' must hold int64 values, but row 0 holds '2'"),
        ([{**ROWS[0], "count": 2**63}], "column 'count' must hold int64 values between .*, but row 0 holds"),
        ([{**ROWS[0], "city": 2.5}], r"column 'city' must hold string values, but row 0 holds 2.5 \(float\)"),
        ([{**ROWS[0], "city": float("inf")}], "column 'city' must hold string values, but row 0 holds inf"),
        ([{**ROWS[0], "city": ["x"]}], "column 'city' must hold string values, but row 0 holds"),
        ([{**ROWS[0], "city": "\ud800"}], "column 'city' must hold text that UTF-8 can carry, but row 0"),
        ({"city": ["x", "y"], "price": [1], "count": [1, 2]}, "'city' holds 2 values and 'price' 1: .* is 1"),
        ({"city": "rome", "price": [1], "count": [1]}, r"column 'city' must be a list or an array, but is 'rome'"),
        ({"city": ["x"], "price": np.ones([1, 2]), "count": [1]}, r"column 'price' must be one-dim.* shape \(1, 2\)"),
        (pd.concat([FRAME, FRAME[["city"]]], axis=1), "'city' appears 2 times"),
        ([], "at least one row is needed"),
        (FRAME[:0], "at least one row is needed"),
        ({"city": [], "price": [], "count": []}, "at least one row is needed"),
        ([ROWS[0], [1]], "every row must be a dict, but row 1 is"),
        ("rows", "rows must be a DataFrame, a list of dicts or a dict of columns, not str"),
        (7, "rows must be a DataFrame, a list of dicts or a dict of columns, not int"),
    ],
)
def test_input_that_does_not_fit_is_refused_before_sending(
    client: RestClient, monkeypatch: pytest.MonkeyPatch, rows: Any, message: str
) -> None:
    client.signature()

    def must_not_send(*_: Any, **__: Any) -> None:
        raise AssertionError("a request was sent")

    monkeypatch.setattr(client._http, "request", must_not_send)
    with pytest.raises(InputError, match=message):
        client.predict(rows)


def test_unknown_signatures_are_refused(client: RestClient) -> None:
    with pytest.raises(InputError, match=r"signatures \['checked', 'one', 'serving_default'\], but not 'nosig'"):
        client.predict(FRAME, signature_name="nosig")


def test_what_the_server_refuses(server: EmbeddedServer, client: RestClient) -> None:
    with pytest.raises(ServingError, match="x too big") as caught:
        client.predict({"x": [50.0]}, signature_name="checked")
    assert caught.value.status == 400
    with RestClient(server.url, "nope") as other, pytest.raises(ServingError, match=r"Latest\(nope\)") as caught:
        other.predict(FRAME)
    assert caught.value.status == 404


def test_no_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        RestClient(f"http://127.0.0.1:{port}", "m") as client,
        pytest.raises(ServingError, match="no server answers at http://127") as caught,
    ):
        client.status()
    assert caught.value.status is None


def test_a_server_that_does_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with RestClient(url, "m", timeout=0.1) as client, pytest.raises(ServingError, match=r"within 0\.1 s"):
            client.status()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b"<html>"), "is not a JSON object"),
        ((200, b"[]"), "is not a JSON object"),
        ((502, b"<html>bad gateway"), r"Bad Gateway \(HTTP 502\)"),
        ((200, b'{"predictions": [1]}'), "output 'y' is not a table|output 'y' must have"),
        ((200, b'{"outputs": [1.0, 2.0]}'), r"must have one value or one list per row, but is \[2\] for 1 rows"),
        ((200, b'{"outputs": [[1.0], [2.0, 3.0]]}'), "output 'y' is not a table"),
    ],
)
def test_replies_that_are_not_tensorflow_servings(
    recorder: tuple[RestClient, type[Recorder]], reply: tuple[int, bytes], message: str
) -> None:
    client, handler = recorder
    handler.reply = reply
    with pytest.raises(ServingError, match=message):
        client.predict({"s": ["x"], "i": [1], "f": [1.0]})


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("localhost:8501", "m"), {}),
        (("ftp://localhost", "m"), {}),
        (("http://", "m"), {}),
        (("http://local host:x", "m"), {}),
        ((None, "m"), {}),
        (("http://localhost", ""), {}),
        (("http://localhost", "m"), {"version": -1}),
        (("http://localhost", "m"), {"version": "1"}),
        (("http://localhost", "m"), {"timeout": 0}),
    ],
)
def test_arguments_that_cannot_be_used(arguments: Any, options: Any) -> None:
    with pytest.raises(InputError):
        RestClient(*arguments, **options)


def test_it_works_where_tensorflow_cannot_be_imported(server: EmbeddedServer) -> None:
    program = f"""
import sys
sys.modules["tensorflow"] = None
import htlnet_tf as htl
scores = htl.serving.RestClient({server.url!r}, "tiny").predict([{ROWS[0]!r}])
print(scores["click"].tolist())
loaded = sorted(name for name in sys.modules if name.split(".")[0] in ("starlette", "uvicorn", "tf_keras", "pydantic"))
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "[15.0]\n"), done.stderr


def test_importing_the_package_is_light() -> None:
    program = """
import sys
import htlnet_tf.serving
print([name for name in ("httpx", "numpy", "pandas", "starlette", "tensorflow", "uvicorn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
