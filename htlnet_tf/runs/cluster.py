"""The processes that train together, as the environment names them: `TF_CONFIG`."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from collections.abc import Mapping
from typing import Any, Literal

from htlnet_tf.errors import InputError

_EXAMPLES = {
    "multi_worker": '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}',
    "parameter_server": (
        '{"cluster": {"chief": ["host1:2222"], "worker": ["host2:2222"], "ps": ["host3:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    ),
}
_ANSWER_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All tasks, and which of them this process is.

    Attributes:
      addresses: By job (`"chief"`, `"worker"`, `"ps"`), `host:port` of its tasks.
      job: Of this task.
      index: Of this task within its job, from 0.
    """

    addresses: Mapping[str, tuple[str, ...]]
    job: str
    index: int

    @property
    def address(self) -> str:
        """Of this task."""
        return self.addresses[self.job][self.index]

    @property
    def tasks(self) -> list[tuple[str, int]]:
        """Job and index of each task; a chief comes first, and then the workers."""
        jobs = [*(job for job in ("chief", "worker", "ps") if job in self.addresses)]
        return [(job, index) for job in jobs for index in range(len(self.addresses[job]))]


def read_cluster(strategy: Literal["multi_worker", "parameter_server"]) -> Cluster:
    """Reads the environment's `TF_CONFIG`.

    Args:
      strategy: Says which jobs there are.

    Raises:
      InputError: It is missing or not usable.
    """
    example = _EXAMPLES[strategy]
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise InputError(f"training.strategy {strategy} needs the variable TF_CONFIG, such as {example}")
    try:
        config: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"TF_CONFIG is not JSON ({error}); received {text!r}, it should be like {example}") from error
    jobs = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(jobs, dict) or not isinstance(task, dict):
        raise InputError(f"TF_CONFIG has a 'cluster' and a 'task'; received {text!r}, it should be like {example}")
    addresses = {str(job): _addresses(job, listed) for job, listed in jobs.items()}
    counts = {job: len(listed) for job, listed in addresses.items() if listed}
    if strategy == "multi_worker":
        if not counts or counts.keys() - {"chief", "worker"} or counts.get("chief", 0) > 1:
            raise InputError(f"the cluster of TF_CONFIG has workers, and at most one chief; received {counts}")
    elif counts.keys() != {"chief", "worker", "ps"} or counts["chief"] != 1:
        raise InputError(
            f"the cluster of TF_CONFIG has one chief, workers and parameter servers ('ps'); received {counts}"
        )
    every = [address for listed in addresses.values() for address in listed]
    twice = next((address for address in every if every.count(address) > 1), None)
    if twice is not None:
        raise InputError(f"the cluster of TF_CONFIG has the address {twice} twice")
    place = (task.get("type"), task.get("index"))
    cluster = Cluster(addresses, "", 0)
    if place not in cluster.tasks or isinstance(place[1], bool):
        raise InputError(f"the task of TF_CONFIG is none of its cluster: {task}; there are {cluster.tasks}")
    return dataclasses.replace(cluster, job=str(place[0]), index=int(place[1]))


def answers(address: str) -> bool:
    """Whether something accepts connections at an address, within some seconds."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _addresses(job: str, listed: Any) -> tuple[str, ...]:
    def is_address(value: Any) -> bool:
        host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        return bool(host) and ":" not in host and port.isdecimal() and 0 < int(port) < 65536

    if not isinstance(listed, list) or not all(is_address(value) for value in listed):
        raise InputError(f"the cluster of TF_CONFIG lists addresses, host:port; received for '{job}': {listed!r}")
    return tuple(listed)
