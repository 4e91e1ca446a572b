"""The REST client: what it sends, what it refuses before sending, and how it tells what a server said."""

from __future__ import annotations

import copy
import datetime
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import (
    ConnectionFailedError,
    EmbeddedServer,
    RefusedError,
    RestClient,
    ServingError,
    TimedOutError,
    UnavailableError,
)
from tests.serving.clients.stub import METADATA, Stub, stub_server

ROWS = [{"city": "rome", "count": 2, "price": 1.5}, {"city": "", "count": -1, "price": 2}]
FRAME = pd.DataFrame(ROWS, index=["a", "b"])


@pytest.fixture
def recorder() -> Iterator[tuple[RestClient, type[Stub]]]:
    with stub_server() as (url, handler), RestClient(f"{url}/", "m", timeout=5) as client:
        yield client, handler


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which are noted and not made."""
    waits: list[float] = []
    monkeypatch.setattr("htlnet_tf.serving.clients.rest_client.time.sleep", waits.append)
    return waits


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[RestClient]:
    with RestClient(server.url, "tiny") as running:
        yield running


def sent(recorder: tuple[RestClient, type[Stub]], **columns: Any) -> dict[str, Any]:
    client, handler = recorder
    size = len(next(iter(columns.values())))
    handler.replies = [(200, json.dumps({"outputs": [0.5] * size}).encode())]
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


def test_values_by_type(recorder: tuple[RestClient, type[Stub]]) -> None:
    nan = float("nan")
    strings = ["x", 7, np.int64(8), 3.0, None, nan, pd.NA, pd.NaT, b"\xff"]
    assert sent(recorder, s=strings)["s"] == ["x", "7", "8", "3", "", "", "", "", {"b64": "/w=="}]
    assert sent(recorder, i=[1, 2.0, np.int32(3), None, nan, pd.NA])["i"] == [1, 2, 3] + [-(2**63)] * 3
    floats = sent(recorder, f=[1, 2.5, np.float32(0.5), None, float("inf")])["f"]
    np.testing.assert_array_equal(floats, [1, 2.5, 0.5, nan, np.inf])
    frame = pd.DataFrame({"s": pd.Categorical(["a", None]), "i": pd.array([1, None], dtype="Int64"), "f": [1, 2]})
    client, handler = recorder
    handler.replies = [(200, b'{"outputs": [1.0, 2.0]}')]
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
        (
            [{**ROWS[0], "city": ["x"]}],
            r"must hold string values, but row 0 holds \['x'\] \(list\); .* joined by the sep",
        ),
        (FRAME.assign(city=[("x", "y"), "z"]), r"but row 0 \(index 'a'\) holds \('x', 'y'\) \(tuple\); send a list"),
        ([{**ROWS[0], "count": datetime.datetime(2024, 1, 1)}], r"must hold int64.*; send a time as a whole number"),
        (FRAME.assign(count=pd.Timestamp("2024-01-01")), "int64 .* holds Timestamp.*; send a time as a whole number"),
        ({"city": ["x"], "price": [1], "count": np.array(["2024-01-01"], "M8[ns]")}, "holds Timestamp.*; send a time"),
        ([{**ROWS[0], "count": np.timedelta64(7, "s")}], "must hold int64 .*; send a time as a whole number"),
        ([{**ROWS[0], "price": np.timedelta64(7, "s")}], "must hold float values"),
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

    request = client._connections.get().request

    def must_not_post(method: str, *args: Any, **kw: Any) -> Any:
        assert method == "GET", "rows were sent"
        return request(method, *args, **kw)

    monkeypatch.setattr(client._connections.get(), "request", must_not_post)
    with pytest.raises(InputError, match=message):
        client.predict(rows)


def test_unknown_signatures_are_refused(client: RestClient) -> None:
    with pytest.raises(InputError, match=r"signatures \['checked', .*'serving_default'.*\], but not 'nosig'"):
        client.predict(FRAME, signature_name="nosig")


def test_what_the_server_refuses(server: EmbeddedServer, client: RestClient) -> None:
    with pytest.raises(ServingError, match="x too big") as caught:
        client.predict({"x": [50.0]}, signature_name="checked")
    assert caught.value.status == 400
    with RestClient(server.url, "nope") as other, pytest.raises(ServingError, match=r"Latest\(nope\)") as caught:
        other.predict(FRAME)
    assert caught.value.status == 404


def test_no_server(no_waiting: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        RestClient(f"http://127.0.0.1:{port}", "m", retries=3) as client,
        pytest.raises(ConnectionFailedError, match="no server answers at http://127") as caught,
    ):
        client.status()
    assert caught.value.status is None
    # Half to all of 0.1, 0.2, 0.4 s.
    assert [0.05 * 2**i <= wait <= 0.1 * 2**i for i, wait in enumerate(no_waiting)] == [True] * 3


def test_a_server_that_does_not_answer_in_time(no_waiting: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with RestClient(url, "m", timeout=0.1) as client, pytest.raises(TimedOutError, match=r"within 0\.1 s"):
            client.status()
    assert no_waiting == []


SCORED = (200, b'{"outputs": [0.25]}')
BUSY = (503, b'{"error": "queue is full"}')
ONE_ROW = {"s": ["x"], "i": [1], "f": [1.0]}


@pytest.mark.parametrize("failure", [BUSY, None], ids=["503", "broken connection"])
def test_what_may_pass_is_tried_again(
    recorder: tuple[RestClient, type[Stub]], no_waiting: list[float], failure: tuple[int, bytes] | None
) -> None:
    client, handler = recorder
    handler.replies = [failure, failure, SCORED]
    assert client.predict(ONE_ROW)["y"].tolist() == [0.25]
    assert len(handler.bodies) == 3 and len(no_waiting) == 2
    assert len(set(handler.bodies)) == 1


@pytest.mark.parametrize(("status", "kind"), [(400, RefusedError), (500, RefusedError), (504, TimedOutError)])
def test_what_will_not_pass_is_not_tried_again(
    recorder: tuple[RestClient, type[Stub]], no_waiting: list[float], status: int, kind: type[ServingError]
) -> None:
    client, handler = recorder
    handler.replies = [(status, b'{"error": "no"}'), SCORED]
    with pytest.raises(kind, match=rf"^no \(HTTP {status}\)$") as caught:
        client.predict(ONE_ROW)
    assert (type(caught.value), caught.value.message, caught.value.status) == (kind, "no", status)
    assert len(handler.bodies) == 1 and no_waiting == []


def test_retries_end(recorder: tuple[RestClient, type[Stub]], no_waiting: list[float]) -> None:
    client, handler = recorder
    handler.replies = [BUSY]
    with pytest.raises(UnavailableError, match="queue is full"):
        client.predict(ONE_ROW)
    assert len(handler.bodies) == 3 and len(no_waiting) == 2


def test_signatures_are_read_once_and_again_after_a_refusal(recorder: tuple[RestClient, type[Stub]]) -> None:
    client, handler = recorder
    client.predict(ONE_ROW)
    client.predict(ONE_ROW)
    assert handler.requests == ["GET /v1/models/m/metadata", *["POST /v1/models/m:predict"] * 2]
    handler.replies = [(400, b'{"error": "Missing named input: z"}'), SCORED]
    with pytest.raises(RefusedError, match="Missing named input: z"):
        client.predict(ONE_ROW)
    client.predict(ONE_ROW)
    assert handler.requests.count("GET /v1/models/m/metadata") == 2


def changed(**names: str) -> dict[str, Any]:
    """`METADATA` of a version with one more input or output, given as `inputs="z"` or `outputs="z"`."""
    metadata = copy.deepcopy(METADATA)
    signature: dict[str, Any] = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    for kind, name in names.items():
        signature[kind][name] = dict(signature["outputs"]["y"])
    return metadata


@pytest.mark.parametrize("row_format", [False, True])
def test_a_new_version_with_one_more_output(recorder: tuple[RestClient, type[Stub]], row_format: bool) -> None:
    client, handler = recorder
    client.predict(ONE_ROW)
    handler.metadata = changed(outputs="z")
    body = {"predictions": [{"y": 0.5, "z": 2.0}]} if row_format else {"outputs": {"y": [0.5], "z": [2.0]}}
    handler.replies = [(200, json.dumps(body).encode())]
    assert client.predict(ONE_ROW, row_format=row_format).to_dict("list") == {"y": [0.5], "z": [2.0]}
    assert handler.requests.count("GET /v1/models/m/metadata") == 2
    # And back: the server is asked once, not again and again, where its metadata does not explain its answer.
    handler.replies, handler.requests[:] = [(200, b'{"outputs": [0.5]}')], []
    with pytest.raises(ServingError, match="has not the outputs that the model declares"):
        client.predict(ONE_ROW)
    assert handler.requests == ["POST /v1/models/m:predict", "GET /v1/models/m/metadata"]
    handler.metadata = METADATA
    assert client.predict(ONE_ROW).to_dict("list") == {"y": [0.5]}


def test_a_new_version_with_one_more_input(recorder: tuple[RestClient, type[Stub]]) -> None:
    client, handler = recorder
    client.predict(ONE_ROW)
    with pytest.raises(InputError, match="column 'z' is unknown"):
        client.predict({**ONE_ROW, "z": [7.0]})
    handler.metadata = changed(inputs="z")
    assert client.predict({**ONE_ROW, "z": [7.0]})["y"].tolist() == [0.5]
    assert json.loads(handler.bodies[-1])["inputs"]["z"] == [7.0]
    handler.metadata = {}  # what cannot be read changes nothing about the refusal
    with pytest.raises(InputError, match="column 'z' is missing"):
        client.predict(ONE_ROW)


def test_input_is_refused_by_metadata_just_read_without_reading_it_again(
    recorder: tuple[RestClient, type[Stub]],
) -> None:
    client, handler = recorder
    with pytest.raises(InputError, match="column 'f' is missing"):
        client.predict({"s": ["x"]})
    assert handler.requests == ["GET /v1/models/m/metadata"]


@pytest.mark.parametrize(
    ("name", "value"), [("f", 10**400), ("f", -(10**5000)), ("s", 10**5000), ("i", 10**5000)], ids=["f", "f-", "s", "i"]
)
def test_numbers_beyond_all_floats_and_texts(recorder: tuple[RestClient, type[Stub]], name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"column '{name}' must hold .* values.*, but row 1 holds .*"):
        sent(recorder, **{name: [1, value]})
    assert sent(recorder, f=[1, 10**300])["f"] == [1, 10**300]


def test_a_label_is_named_in_the_path() -> None:
    with stub_server() as (url, handler), RestClient(url, "a b", label="blue/green") as client:
        client.predict(ONE_ROW)
    assert handler.requests[-1] == "POST /v1/models/a%20b/labels/blue%2Fgreen:predict"


def test_row_format(client: RestClient, recorder: tuple[RestClient, type[Stub]]) -> None:
    pd.testing.assert_frame_equal(client.predict(FRAME, row_format=True), client.predict(FRAME))
    assert client.predict({"x": [1.0, 2.5]}, "one", row_format=True)["y_0"].tolist() == [2.0, 5.0]
    stubbed, handler = recorder
    handler.replies = [(200, b'{"predictions": [0.5, 0.25]}')]
    rows = {"s": ["x", b"\xff"], "i": [1, None], "f": [1.5, 2]}
    assert stubbed.predict(rows, row_format=True)["y"].tolist() == [0.5, 0.25]
    assert json.loads(handler.bodies[-1]) == {
        "signature_name": "serving_default",
        "instances": [{"f": 1.5, "i": 1, "s": "x"}, {"f": 2, "i": -(2**63), "s": {"b64": "/w=="}}],
    }


USER = {"age": 2.0, "user": "anna"}
ITEMS = [{"item": 1, "price": 10.0}, {"item": 7, "price": 0.5}, {"item": -1, "price": 3.0}]


@pytest.mark.parametrize(
    "items",
    [ITEMS, {"item": [1, 7, -1], "price": [10, 0.5, 3]}, pd.DataFrame(ITEMS, index=[5, 3, 4]).assign(shelf="x")],
    ids=["rows", "columns", "frame"],
)
def test_candidates_send_the_user_once(
    ranker_server: EmbeddedServer, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RestClient(ranker_server.url, "ranker") as client:
        everything = client.predict([USER | item for item in ITEMS])
        sent = []
        request = client._connections.get().request
        monkeypatch.setattr(
            client._connections.get(),
            "request",
            lambda *args, content, **kw: sent.append(content) or request(*args, content=content, **kw),
        )
        scores = client.predict_candidates(USER, items)
    # By hand: age * price + item; 4 letters + 2 age.
    assert scores["buy"].tolist() == [21.0, 8.0, 5.0] and scores["click"].tolist() == [8.0] * 3
    assert scores["name"].tolist() == ["anna1", "anna7", "anna-1"]
    pd.testing.assert_frame_equal(scores.reset_index(drop=True), everything)
    assert scores.index.tolist() == (items.index.tolist() if isinstance(items, pd.DataFrame) else [0, 1, 2])
    assert json.loads(sent[-1])["inputs"] == {"age": [2.0], "user": ["anna"], "item": [1, 7, -1], "price": [10, 0.5, 3]}


@pytest.mark.parametrize(
    ("user", "items", "message"),
    [
        ({"age": 2.0}, ITEMS, "column 'user' is missing in the user, which has 'age'"),
        (USER | {"item": 1}, ITEMS, "column 'item' in the user belongs to the items; a user has 'age', 'user'"),
        (USER | {"x": 1}, ITEMS, "column 'x' in the user is unknown to the model"),
        (USER | {"age": "old"}, ITEMS, "column 'age' must hold float values, but the user holds 'old'"),
        (USER | {"user": ["a"]}, ITEMS, "column 'user' must hold string values, but the user holds .*; send a list"),
        ([USER], ITEMS, "the user must be a dict of column and value, but is"),
        (
            USER,
            [USER | ITEMS[0]],
            "column 'age' in row 0 of the items is unknown to the model, which takes 'item'",
        ),
        (USER, [{"item": 1}], "column 'price' is missing in row 0 of the items"),
        (USER, [], "at least one row is needed"),
    ],
)
def test_candidates_that_do_not_fit_are_refused(
    ranker_server: EmbeddedServer, user: Any, items: Any, message: str
) -> None:
    with RestClient(ranker_server.url, "ranker") as client, pytest.raises(InputError, match=message):
        client.predict_candidates(user, items)


def test_rows_for_a_signature_that_shares_columns_are_refused(
    ranker_server: EmbeddedServer, client: RestClient
) -> None:
    with RestClient(ranker_server.url, "ranker") as ranker:
        with pytest.raises(InputError, match="one value of 'age', 'user' for all rows: use predict_candidates"):
            ranker.predict([USER | item for item in ITEMS], "candidates")
        assert ranker.predict([USER | ITEMS[0]], "candidates")["buy"].tolist() == [21.0]
    with pytest.raises(InputError, match=r"signatures \[.*\], but not 'candidates'"):
        client.predict_candidates({}, ITEMS)


def test_serialized_examples_are_sent_as_they_are(ranker_server: EmbeddedServer) -> None:
    import tensorflow as tf

    example = tf.train.Example()
    example.features.feature["age"].float_list.value.append(2.0)
    example.features.feature["user"].bytes_list.value.append(b"anna")
    example.features.feature["item"].int64_list.value.append(1)
    example.features.feature["price"].float_list.value.append(10.0)
    with RestClient(ranker_server.url, "ranker") as client:
        scores = client.predict({"examples": [example.SerializeToString()]}, "examples")
    assert scores["buy"].tolist() == [21.0]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((200, b"<html>"), "is not a JSON object"),
        ((200, b"[]"), "is not a JSON object"),
        ((200, b"[" * 200_000), "is not a JSON object"),
        ((400, b"[" * 200_000), r"Bad Request \(HTTP 400\)"),
        ((502, b"<html>bad gateway"), r"Bad Gateway \(HTTP 502\)"),
        ((200, b'{"predictions": [1]}'), "output 'y' is not a table|output 'y' must have"),
        ((200, b'{"outputs": [1.0, 2.0]}'), r"must have one value or one list per row, but is \[2\] for 1 rows"),
        ((200, b'{"outputs": [[1.0], [2.0, 3.0]]}'), "output 'y' is not a table"),
    ],
)
def test_replies_that_are_not_tensorflow_servings(
    recorder: tuple[RestClient, type[Stub]], reply: tuple[int, bytes], message: str
) -> None:
    client, handler = recorder
    handler.replies = [reply]
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
        (("http://localhost", "m"), {"label": ""}),
        (("http://localhost", "m"), {"label": "stable", "version": 1}),
        (("http://localhost", "m"), {"retries": -1}),
        (("http://localhost", "m"), {"max_connections": 0}),
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
