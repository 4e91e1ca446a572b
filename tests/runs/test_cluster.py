"""What TF_CONFIG may be."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

import htlnet_tf as htl
from htlnet_tf.runs.cluster import Cluster, read_cluster

Strategy = Literal["multi_worker", "parameter_server"]
WORKER = {"type": "worker", "index": 0}
SERVERS = {"chief": ["a:1"], "worker": ["b:1"], "ps": ["c:1"]}


def text(cluster: dict[str, Any], task: dict[str, Any] = WORKER) -> str:
    return json.dumps({"cluster": cluster, "task": task})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "needs the variable TF_CONFIG, such as {"),
        ("{", "TF_CONFIG is not JSON"),
        ("[]", "has a 'cluster' and a 'task'"),
        ('{"cluster": {"worker": ["a:1"]}}', "has a 'cluster' and a 'task'"),
        (text({"worker": ["a"]}), "host:port; received for 'worker'"),
        (text({"worker": "a:1"}), "host:port"),
        (text({"worker": ["a:b"]}), "host:port"),
        (text({"worker": [":1"]}), "host:port"),
        (text({"worker": ["a:70000"]}), "host:port"),
    ],
)
@pytest.mark.parametrize("strategy", ["multi_worker", "parameter_server"])
def test_what_tf_config_may_be(
    value: str | None, message: str, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(htl.InputError, match=message):
        read_cluster(strategy)


@pytest.mark.parametrize(
    ("strategy", "value", "message"),
    [
        ("multi_worker", text({"ps": ["a:1"]}, {"type": "ps", "index": 0}), "has workers, and at most one chief"),
        ("multi_worker", text({"chief": ["a:1", "b:1"], "worker": ["c:1"]}), "at most one chief"),
        ("multi_worker", text({}), "has workers"),
        ("multi_worker", text({"worker": ["a:1", "a:1"]}), "has the address a:1 twice"),
        ("multi_worker", text({"worker": ["a:1"]}, {"type": "worker", "index": 1}), "is none of its cluster"),
        ("multi_worker", text({"worker": ["a:1"]}, {"type": "worker", "index": "0"}), "is none of its cluster"),
        ("multi_worker", text({"worker": ["a:1"]}, {"type": "worker", "index": False}), "is none of its cluster"),
        ("parameter_server", text({"worker": ["a:1"], "ps": ["b:1"]}), "has one chief, workers and parameter servers"),
        ("parameter_server", text(SERVERS | {"chief": ["d:1", "e:1"]}), "received {'chief': 2, 'worker': 1, 'ps': 1}"),
        ("parameter_server", text(SERVERS | {"ps": []}), "has one chief, workers and parameter servers"),
        ("parameter_server", text(SERVERS | {"evaluator": ["d:1"]}), "has one chief, workers and parameter servers"),
        ("parameter_server", text(SERVERS, {"type": "evaluator", "index": 0}), "is none of its cluster"),
    ],
)
def test_which_jobs_a_strategy_has(
    strategy: Strategy, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(htl.InputError, match=message):
        read_cluster(strategy)


def test_which_task_this_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TF_CONFIG", text({"ps": ["c:1"], "worker": ["b:1", "d:2"], "chief": ["a:1"]}, WORKER | {"index": 1})
    )
    cluster = read_cluster("parameter_server")
    assert cluster == Cluster({"ps": ("c:1",), "worker": ("b:1", "d:2"), "chief": ("a:1",)}, "worker", 1)
    assert cluster.address == "d:2"
    assert cluster.tasks == [("chief", 0), ("worker", 0), ("worker", 1), ("ps", 0)]
