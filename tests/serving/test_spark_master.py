"""What a master of Spark may be, without Spark."""

from __future__ import annotations

import socket

import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving.spark_master import require_master


@pytest.mark.parametrize(
    "master", ["local", "local[1]", "local[16]", "local[*]", "local[2,3]", "local-cluster[2,1,1024]"]
)
def test_masters_of_this_machine(master: str) -> None:
    require_master(master)


@pytest.mark.parametrize(
    "master",
    [
        "",
        "foo",
        "Local",
        "local[]",
        "local[0]",
        "local[-1]",
        "local[2",
        "local[two]",
        "spark://host",
        "spark://:7077",
        "http://host:7077",
        "sc://host",
        "k8s://",
        "local[2] --conf",
    ],
)
def test_no_masters(master: str) -> None:
    with pytest.raises(InputError, match="--master must be local, local") as error:
        require_master(master)
    assert repr(master) in str(error.value)


def test_a_master_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_master(f"spark://127.0.0.1:{port}")
        require_master(f"spark://127.0.0.1:1,127.0.0.1:{port}")  # one that stands in for the other
    with pytest.raises(InputError, match=f"no master of Spark answers at --master spark://127.0.0.1:{port}: .*refused"):
        require_master(f"spark://127.0.0.1:{port}")
    with pytest.raises(InputError, match="no master of Spark answers"):
        require_master("spark://127.0.0.1:99999")


def test_yarn_needs_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    with pytest.raises(InputError, match="--master yarn needs HADOOP_CONF_DIR or YARN_CONF_DIR"):
        require_master("yarn")
    monkeypatch.setenv("YARN_CONF_DIR", "/etc/hadoop")
    require_master("yarn")
