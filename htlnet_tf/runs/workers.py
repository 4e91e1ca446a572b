"""Who trains a run: this process alone, or several that run the same command together."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import tensorflow as tf

from htlnet_tf.agreement import first_line, refused_together, require_agreement
from htlnet_tf.checkpoints.state import copy_own_state, copy_state
from htlnet_tf.data.stream import Stream
from htlnet_tf.distribution import over_parameter_servers, writes
from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.runs.cluster import Cluster, answers, read_cluster
from htlnet_tf.runs.preparation import Write
from htlnet_tf.runs.trained import Trained
from htlnet_tf.sharding import TablePartitioner

StrategyName = Literal["none", "mirrored", "multi_worker"]


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
      served_by: The tasks that make the steps and hold the weights where this process is their coordinator; None: those
        that train make the steps.
    """

    strategy: tf.distribute.Strategy
    count: int = 1
    index: int = 0
    spread: bool = False
    served_by: Cluster | None = None

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
    cluster = read_cluster("multi_worker")
    count, index = len(cluster.tasks), cluster.tasks.index((cluster.job, cluster.index))
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise InputError(
            f"training.strategy multi_worker must come before anything else that TensorFlow does in a process: {error}"
        ) from error
    except tf.errors.OpError as error:
        raise InputError(f"this worker cannot join those of TF_CONFIG: {first_line(error)}") from error
    return Workers(strategy, count, index, spread=True)


def coordinate(cluster: Cluster, shards: int | None = None, *, write: Write = print) -> Workers:
    """Makes this process the coordinator of workers and parameter servers, and waits until all of them are there.

    Args:
      cluster: This task, the chief, and the others.
      shards: Of an embedding table, at most; None: as many as there are parameter servers.
      write: Where the line goes that says who is waited for.

    Raises:
      InputError: This process cannot listen at its address, or TensorFlow was used before in it.
    """
    _wait_for_all(cluster, write)
    try:
        partitioner = TablePartitioner(shards or len(cluster.addresses["ps"]))
        strategy = over_parameter_servers(cluster.addresses, partitioner)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "training.strategy parameter_server must come before anything else that TensorFlow does in a process: "
            f"{error}"
        ) from error
    except tf.errors.OpError as error:
        raise InputError(f"the coordinator cannot join the tasks of TF_CONFIG: {first_line(error)}") from error
    return Workers(strategy, spread=True, served_by=cluster)


def _wait_for_all(cluster: Cluster, write: Write) -> None:
    """Waits until all others listen: TensorFlow would give up after a while."""
    told = ""
    others = {f"{job} {i} at {cluster.addresses[job][i]}": cluster.addresses[job][i] for job, i in cluster.tasks[1:]}
    while missing := [name for name, address in others.items() if not answers(address)]:
        line = f"waiting for {', '.join(missing)}"
        if line != told:
            write(line)
            told = line
        time.sleep(1.0)
