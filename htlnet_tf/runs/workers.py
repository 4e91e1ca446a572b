"""Who trains a run: this process alone, or several that run the same command together."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import tensorflow as tf

from htlnet_tf.agreement import first_line, refused_together, require_agreement
from htlnet_tf.checkpoints.state import copy_own_state, copy_state
from htlnet_tf.data.stream import Stream
from htlnet_tf.distribution import writes
from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.runs.trained import Trained

StrategyName = Literal["none", "mirrored", "multi_worker"]
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


class Shard(TypedDict, total=False):
    """Arguments of `make_dataset`."""

    num_shards: int
    shard_index: int


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes of a training.

    Attributes:
      strategy: What the model is built and trained under.
      count: How many processes there are.
      index: Which of them this one is, from 0.
      spread: Whether the strategy is one of the configuration, so that the model is no ordinary one.
    """

    strategy: tf.distribute.Strategy
    count: int = 1
    index: int = 0
    spread: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this process prepares the run and writes it."""
        return writes(self.strategy)

    def shard(self, rows: Any) -> Shard:
        """Arguments of `make_dataset` for this process' part of some rows.

        Those in memory are all there in each process, which takes its part of every batch; of a stream each reads files
        of its own.
        """
        return {"num_shards": self.count, "shard_index": self.index} if isinstance(rows, Stream) else Shard()

    def together(self) -> contextlib.AbstractContextManager[None]:
        """What one process refuses within, all of them refuse, see `refused_together`; they wait for one another at its
        end.
        """
        return refused_together(self.strategy)

    def require_same(self, facts: Mapping[str, Any], *, remedy: str = "run the same command on all of them") -> None:
        """Checks that all processes are about the same thing, see `require_agreement`."""
        require_agreement(self.strategy, facts, remedy=remedy)

    def ordinary(self, trained: Trained, build: Callable[[], MultiTaskModel]) -> Trained:
        """What was trained, with a model of no strategy; all processes must ask for it.

        Args:
          trained: Its model was built under the strategy.
          build: Builds and compiles the same without one.
        """
        if not self.spread:
            return trained
        plain = build()
        copy_state(trained.model, plain)
        return dataclasses.replace(trained, model=plain)

    def own(self, model: MultiTaskModel, build: Callable[[], MultiTaskModel]) -> MultiTaskModel:
        """A model of no strategy with what this process alone has of one; the others need not ask for it.

        Args:
          model: Built under the strategy.
          build: As for `ordinary`.
        """
        if not self.spread:
            return model
        plain = build()
        copy_own_state(model, plain)
        return plain


def open_workers(name: StrategyName) -> Workers:
    """Finds the processes that train together, and waits until all of them are there.

    Args:
      name: `"none"`; `"mirrored"`, for the GPUs of this machine; `"multi_worker"`, for those of several processes, of
        which each finds all addresses and its own place in the environment's `TF_CONFIG`.

    Raises:
      InputError: `TF_CONFIG` is missing or not usable, or TensorFlow was used before in this process.
    """
    if name == "none":
        return Workers(tf.distribute.get_strategy())
    if name == "mirrored":
        return Workers(tf.distribute.MirroredStrategy(), spread=True)
    count, index = _place()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            f"training.strategy multi_worker must come before anything else that TensorFlow does in a process: {error}"
        ) from error
    except tf.errors.OpError as error:
        raise InputError(f"this worker cannot join those of TF_CONFIG: {first_line(error)}") from error
    return Workers(strategy, count, index, spread=True)


def _place() -> tuple[int, int]:
    """The number of workers, and this one's, from `TF_CONFIG`."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        raise InputError(f"training.strategy multi_worker needs the variable TF_CONFIG, such as {_EXAMPLE}")
    try:
        config: Any = json.loads(text)
    except ValueError as error:
        raise InputError(f"TF_CONFIG is not JSON ({error}); received {text!r}, it should be like {_EXAMPLE}") from error
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise InputError(f"TF_CONFIG has a 'cluster' and a 'task'; received {text!r}, it should be like {_EXAMPLE}")
    unknown = sorted(set(cluster) - {"chief", "worker"})
    names = [(kind, i) for kind in ("chief", "worker") for i in range(len(_addresses(cluster, kind)))]
    if unknown or not names:
        raise InputError(f"the cluster of TF_CONFIG has workers, and at most one chief; received {sorted(cluster)}")
    place = (task.get("type"), task.get("index"))
    if place not in names:
        raise InputError(f"the task of TF_CONFIG is none of its cluster: {task}; there are {names}")
    return len(names), names.index(place)


def _addresses(cluster: dict[str, Any], kind: str) -> list[str]:
    addresses = cluster.get(kind, [])
    if not isinstance(addresses, list) or not all(isinstance(a, str) and a.count(":") == 1 for a in addresses):
        raise InputError(f"the cluster of TF_CONFIG lists addresses, host:port; received for '{kind}': {addresses!r}")
    return addresses
