"""A second version is asked in the background: both answers are logged, and the first one never waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, GrpcClient, RestClient
from htlnet_tf.serving.clients import shadow as shadows
from htlnet_tf.serving.clients.shadow_log import read_log
from htlnet_tf.serving.errors import RefusedError
from tests.serving.clients.stub import Stub, stub_server

ROWS = pd.DataFrame({"city": ["rome", "oslo"], "count": [1, 2], "price": [0.5, 2.0], "request_id": ["a", "b"]})


def ask(kind: str, server: EmbeddedServer, log: Path) -> pd.DataFrame:
    """Asks version 1 with the label canary (version 2) as shadow."""
    options: dict[str, Any] = {
        "label": "stable", "shadow": "canary", "shadow_log": log, "shadow_keys": ["request_id"],
    }  # fmt: skip
    if kind == "rest":
        with RestClient(server.url, "tiny", **options) as client:
            return client.predict(ROWS)
    if kind == "grpc":
        with GrpcClient(str(server.grpc_target), "tiny", **options) as client:
            return client.predict(ROWS)

    async def predict() -> pd.DataFrame:
        async with AsyncRestClient(server.url, "tiny", **options) as client:
            return await client.predict(ROWS)

    return asyncio.run(predict())


@pytest.fixture(scope="module")
def both(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.serving.conftest import CONFIG

    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text(CONFIG, encoding="utf-8")
    with EmbeddedServer(models, port=0, grpc_port=0, model_config_file=config) as running:
        yield running


@pytest.mark.parametrize("kind", ["rest", "async", "grpc"])
def test_both_answers_are_logged(kind: str, both: EmbeddedServer, tmp_path: Path) -> None:
    scores = ask(kind, both, tmp_path / "log")
    assert scores["click"].tolist() == [0.5, 2.0]
    (line,) = read_log([tmp_path / "log"])
    assert (line["method"], line["keys"]) == ("predict", {"request_id": ["a", "b"]})
    first, second = line["first"], line["second"]
    assert (first["asked"], second["asked"]) == ("stable", "canary")
    assert first["scores"]["click"] == [0.5, 2.0]
    assert second["scores"]["click"] == [5.0, 20.0]
    assert "city" not in first["scores"]  # text is no score
    assert (first["error"], second["error"], first["index"]) == (None, None, [0, 1])
    assert min(first["seconds"], second["seconds"]) > 0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def slow_post(self: Any) -> None:
    """Answers the label canary when it is told to."""
    if "canary" in self.path:
        self.asked.set()
        self.gate.wait(10)
    Stub.do_POST(self)


def test_the_first_never_waits_and_what_is_too_much_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "WAITING", 3)
    with stub_server() as (url, handler):
        gate, asked = threading.Event(), threading.Event()
        for name, value in (("gate", gate), ("asked", asked), ("do_POST", slow_post)):
            setattr(handler, name, value)
        client = RestClient(url, "m", label="stable", shadow="canary", shadow_log=tmp_path / "log")
        rows = {"s": ["x"], "i": [1], "f": [0.5]}
        assert client.predict(rows)["y"].tolist() == [0.5]
        assert asked.wait(10)
        # The second one hangs, and each of these is answered all the same: three wait, two are dropped.
        for _ in range(5):
            assert client.predict(rows)["y"].tolist() == [0.5]
        # Whoever changes rows afterwards changes nothing of what waits.
        rows["f"][0] = 7.0
        gate.set()
        client.close()
        canary = [body for path, body in zip(posts(handler), handler.bodies, strict=True) if "canary" in path]
        assert len(canary) == 4
        assert all(json.loads(body)["inputs"]["f"] == [0.5] for body in canary)
    lines = list(read_log([tmp_path / "log"]))
    assert sum("first" in line for line in lines) == 4
    assert sum(line.get("dropped", 0) for line in lines) == 2


def posts(handler: type[Stub]) -> list[str]:
    return [request for request in handler.requests if request.startswith("POST")]


def test_failures_of_either_are_told(tmp_path: Path) -> None:
    with stub_server() as (url, handler):
        handler.replies = [(400, b'{"error": "no such label"}')]
        rows = {"s": ["x"], "i": [1], "f": [0.5]}
        with RestClient(url, "m", shadow=2, shadow_log=tmp_path / "log") as client:
            with pytest.raises(RefusedError, match="no such label"):
                client.predict(rows)
            with pytest.raises(InputError):  # which nobody was asked
                client.predict({"s": ["x"]})
        (line,) = read_log([tmp_path / "log"])
        assert (line["first"]["asked"], line["second"]["asked"]) == ("latest", "2")
        assert "no such label" in line["first"]["error"]
        assert "no such label" in line["second"]["error"]
        assert line["first"]["scores"] is None


def test_a_log_that_cannot_be_written_fails_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log").write_text("a file stands where the folder should be")
    with stub_server() as (url, _), RestClient(url, "m", shadow="canary", shadow_log=tmp_path / "log") as client:
        assert client.predict({"s": ["x"], "i": [1], "f": [0.5]})["y"].tolist() == [0.5]
    assert "not logged" in caplog.text


def test_a_forked_process_has_a_shadow_of_its_own(tmp_path: Path) -> None:
    with stub_server() as (url, _):
        rows = {"s": ["x"], "i": [1], "f": [0.5]}
        client = RestClient(url, "m", shadow="canary", shadow_log=tmp_path / "log")
        client.predict(rows)
        wait_for(lambda: bool(list((tmp_path / "log").glob("*.jsonl"))))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.predict(rows)
                client.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.predict(rows)
        client.close()
    files = sorted((tmp_path / "log").glob("*.jsonl"))
    assert sorted(len(list(read_log([file]))) for file in files) == [1, 2]


def test_rows_of_every_form_are_copied_with_their_keys() -> None:
    array = np.array([1.0, 2.0])
    copy = shadows.copied({"x": array, "y": [1, 2], "z": "one"})
    array[0] = 9.0
    assert copy["x"].tolist() == [1.0, 2.0]
    rows = [{"x": 1}, {"x": 2}]
    taken = shadows.copied(rows)
    rows[0]["x"] = 9
    assert taken == [{"x": 1}, {"x": 2}]
    found = shadows._keys(({"user": "u1"}, pd.DataFrame({"item": [3, 4]})), ("user", "item", "none"))
    assert found == {"user": ["u1"], "item": [3, 4]}
    assert shadows._keys(([{"user": "a"}, {"user": None}],), ("user",)) == {"user": ["a", None]}


def test_arguments_and_damaged_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs both"):
        RestClient("http://localhost:1", "m", shadow="canary")
    with pytest.raises(InputError, match="label or the number"):
        RestClient("http://localhost:1", "m", shadow="", shadow_log=tmp_path)
    with pytest.raises(InputError, match=r"no \*\.jsonl"):
        list(read_log([tmp_path]))
    line = json.dumps({"dropped": 3})
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line[:5]}")  # cut off, as by a kill
    assert list(read_log([tmp_path])) == [{"dropped": 3}]
    (tmp_path / "a.jsonl").write_text(f"{line}\n{line[:5]}\n")
    with pytest.raises(InputError, match=r"a\.jsonl', line 2 is no JSON"):
        list(read_log([tmp_path]))
    (tmp_path / "a.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match=r"line 1 is no line of a shadow's log"):
        list(read_log([tmp_path]))
