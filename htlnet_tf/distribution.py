"""What knows of replicas: their number, sums and rows over all of them, and state that each keeps for itself.

Under a synchronous strategy (`MirroredStrategy`, `MultiWorkerMirroredStrategy`) a step is that of the global batch: the
replicas hold parts of it, one behind the other, and whatever is a sum over its rows is summed over the replicas before
it is used. A step then does what one worker would do with the whole batch. Without a strategy, outside of a step and
under a `ParameterServerStrategy`, each of whose workers makes steps of its own, the functions here return what they are
given.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

OWN_STATE: dict[str, Any] = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}
"""Options of a variable that each replica writes for itself within a step; read outside, it is the first one's."""


def num_replicas() -> int:
    """Replicas that a step runs on: 1 without a `tf.distribute` strategy."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def replica_number() -> tf.Tensor | int:
    """Which replica a step is traced for, from 0; 0 without a `tf.distribute` strategy."""
    context = _replica()
    return 0 if context is None else context.replica_id_in_sync_group


def parameter_servers() -> bool:
    """Whether workers make steps of their own here, on variables of parameter servers."""
    return isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy)


def replicas_meet_in_updates() -> bool:
    """Whether replicas meet within an optimizer's step, which no condition may be around; parameter servers make
    TensorFlow take the same way, with one replica.
    """
    return num_replicas() > 1 or parameter_servers()


def current_worker(context: tf.distribute.InputContext) -> tuple[tf.Tensor | int, int]:
    """Whose rows a dataset's function makes: the worker's number, and how many there are.

    Under parameter servers the function is traced once for all workers, so that the number is known when it is run.

    Args:
      context: What the function was called with.
    """
    if not parameter_servers():
        return context.input_pipeline_id, context.num_input_pipelines
    # The strategy does not tell them; every worker has a CPU.
    devices = [tf.DeviceSpec.from_string(device.name) for device in tf.config.list_logical_devices("CPU")]
    workers = len({device.task for device in devices if device.job == "worker"})
    return tf.distribute.coordinator.experimental_get_current_worker_index(), workers


def states_of(variable: tf.Variable) -> tuple[tf.Variable, ...]:
    """The variables of all replicas of this process that stand behind one of `OWN_STATE`."""
    return tuple(getattr(variable, "values", (variable,)))


def sum_over_replicas(tensors: Sequence[Any]) -> list[Any]:
    """Each tensor's sum over the replicas, in one exchange for all of them.

    Args:
      tensors: Tensors, `IndexedSlices`, or None, which stays None; as many, and of the same shapes, on every replica.
    """
    context = _replica()
    if context is None:
        return list(tensors)
    there = [tensor for tensor in tensors if tensor is not None]
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, there) if there else ())
    return [None if tensor is None else next(summed) for tensor in tensors]


def place_in_batch(rows: tf.Tensor) -> tf.Tensor:
    """The number that the first of this replica's rows has in the global batch, an int64 scalar.

    Args:
      rows: How many it has, an integer scalar.
    """
    context = _replica()
    if context is None:
        return tf.zeros([], tf.int64)
    sizes = context.all_gather(tf.reshape(tf.cast(rows, tf.int64), [1]), axis=0)
    return tf.cumsum(sizes, exclusive=True)[context.replica_id_in_sync_group]


def rows_over_replicas(ids: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The rows that any replica touches, each once, with their values summed over the replicas.

    Gram matrices of single replicas must not be averaged: rows that two of them touch have cross terms. So the rows
    themselves are gathered, which moves U (d + 1) numbers where an all-reduce of sparse gradients moves as many.

    Args:
      ids: int32 [U], each row that this replica touches once.
      values: float32 [U, d].

    Returns:
      Ids int32 [V] and values float32 [V, d], the same on all replicas.
    """
    context = _replica()
    if context is None:
        return ids, values
    ids, values = context.all_gather([ids, values], axis=0)
    unique, inverse = tf.unique(ids)
    return unique, tf.math.unsorted_segment_sum(values, inverse, tf.size(unique))


def apply_summed_gradients(
    optimizer: Any, gradients: Sequence[Any], variables: Sequence[tf.Variable], *, where: tf.Tensor | None = None
) -> None:
    """Makes an optimizer's step with gradients that have been summed over the replicas.

    Args:
      optimizer: Of Keras.
      gradients: The same on all replicas; None for a variable that takes no part.
      variables: As many.
      where: Whether to make it, a boolean scalar that is the same on all replicas; None: always.

    Raises:
      ValueError: A step that may be left out needs one of Keras' optimizers of today, without weight decay.
    """
    pairs = list(zip(gradients, variables, strict=True))
    current = isinstance(optimizer, tf.keras.optimizers.Optimizer)
    if where is None:
        aggregated = {"skip_gradients_aggregation": True} if current else {"experimental_aggregate_gradients": False}
        optimizer.apply_gradients(pairs, **aggregated)
        return
    if not current or optimizer.weight_decay:
        raise ValueError(
            "on_nonfinite='skip' under a tf.distribute strategy needs an optimizer of tf.keras.optimizers (not of its "
            "legacy) without weight_decay, such as LazyAdam"
        )
    # A condition around apply_gradients cannot be: in it replicas must not meet, and there they do. This is the part
    # behind which they have met.
    update = type(optimizer)._distributed_apply_gradients_fn

    def where_sound(strategy: tf.distribute.Strategy, pairs: Any, **kwargs: Any) -> tf.Tensor:
        def made() -> tf.Tensor:
            update(optimizer, strategy, pairs, **kwargs)
            return tf.constant(True)

        return tf.cond(where, made, lambda: tf.constant(False))

    optimizer._distributed_apply_gradients_fn = where_sound
    try:
        optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)
    finally:
        # Each replica's thread comes here.
        vars(optimizer).pop("_distributed_apply_gradients_fn", None)


def is_shared(strategy: tf.distribute.Strategy) -> bool:
    """Whether several processes make the steps of a strategy together, each of which runs the same program."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and bool(
        strategy.extended._in_multi_worker_mode()
    )


def writes(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes what all of them have: the only one, or the first."""
    return not is_shared(strategy) or bool(strategy.extended.should_checkpoint)


def sums_over_workers(strategy: tf.distribute.Strategy, numbers: Sequence[float]) -> list[float]:
    """Each number's sum over the processes of a strategy, all of which must ask for it at the same place.

    Args:
      strategy: Of which several processes make the steps, or which has this process alone.
      numbers: Of this process.
    """
    if not is_shared(strategy):
        return list(numbers)
    # A replica of several in this process gives its share.
    local = len(strategy.extended.worker_devices)
    shares = tf.constant([number / local for number in numbers], tf.float64)
    summed = _summing(strategy)(shares)
    return [float(value) for value in strategy.experimental_local_results(summed)[0].numpy()]


def texts_of_workers(strategy: tf.distribute.Strategy, text: str) -> list[str]:
    """The text of each process of a strategy, in the order of their numbers; all must ask for it at the same place.

    Args:
      strategy: As for `sums_over_workers`.
      text: Of this process, of any length.
    """
    if not is_shared(strategy):
        return [text]
    # Each replica of a process gives it, with its length before it, so that none gives nothing.
    encoded = list(text.encode("utf-8"))
    gathered = _gathering(strategy)(tf.constant([len(encoded), *encoded], tf.int32))
    numbers = strategy.experimental_local_results(gathered)[0].numpy()
    texts, place = [], 0
    while place < len(numbers):
        end = place + 1 + int(numbers[place])
        texts.append(bytes(numbers[place + 1 : end].astype(np.uint8)).decode("utf-8"))
        place = end
    return texts[:: len(strategy.extended.worker_devices)]


def input_workers(strategy: tf.distribute.Strategy) -> int:
    """Processes of a strategy that read rows, each for its own replicas; 1 but for `MultiWorkerMirroredStrategy`."""
    if not is_shared(strategy):
        return 1
    return int(strategy.num_replicas_in_sync) // len(strategy.extended.worker_devices)


def worker_number(strategy: tf.distribute.Strategy) -> int:
    """Which of them this process is, from 0."""
    return int(strategy.extended._id_in_cluster) if is_shared(strategy) else 0


def values_for_all(variables: Mapping[str, tf.Variable]) -> dict[str, np.ndarray]:
    """Of some variables, those whose reading is an exchange between processes; the others can be read by each alone.

    Args:
      variables: By name, the same in every process, all of which must ask for it at the same place.
    """
    alone = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return {
        name: variable.numpy()
        for name, variable in variables.items()
        if variable.synchronization == tf.VariableSynchronization.ON_READ and variable.aggregation != alone
    }


def start_task(addresses: Mapping[str, Sequence[str]], job: str, index: int) -> None:
    """Makes this process a worker or a parameter server, which serves a coordinator until it ends.

    Args:
      addresses: By job, `host:port` of its tasks.
      job: Of this task.
      index: Of this task within its job.

    Raises:
      tf.errors.OpError: It cannot listen at its address.
    """
    cluster = tf.train.ClusterSpec({name: list(listed) for name, listed in addresses.items()})
    # TensorFlow cannot end a server; what its deletion would do is not defined.
    _STARTED.append(tf.distribute.Server(cluster, job_name=job, task_index=index, protocol="grpc"))


def over_parameter_servers(addresses: Mapping[str, Sequence[str]], partitioner: Any) -> tf.distribute.Strategy:
    """The strategy of the coordinator of workers and parameter servers that are there.

    Args:
      addresses: By job, `host:port` of its tasks; this process is the one of `chief`.
      partitioner: Splits variables over the parameter servers.

    Raises:
      tf.errors.OpError: It cannot listen at its address, or a task cannot be reached.
      RuntimeError: TensorFlow was used before in this process.
    """
    cluster = tf.train.ClusterSpec({name: list(listed) for name, listed in addresses.items()})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="chief", task_id=0, rpc_layer="grpc"
    )
    return tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)


def tasks_of(variables: Sequence[tf.Variable]) -> set[int]:
    """The numbers of the parameter servers that hold some variables."""
    return {int(tf.DeviceSpec.from_string(variable.device).task or 0) for variable in variables}


_STARTED: list[Any] = []


@functools.lru_cache(maxsize=4)
def _summing(strategy: tf.distribute.Strategy) -> Any:
    @tf.function
    def summed(shares: tf.Tensor) -> Any:
        def in_replica(own: tf.Tensor) -> Any:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(own))

        return strategy.run(in_replica, args=(shares,))

    return summed


@functools.lru_cache(maxsize=4)
def _gathering(strategy: tf.distribute.Strategy) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def gathered(numbers: tf.Tensor) -> Any:
        def in_replica(own: tf.Tensor) -> Any:
            return tf.distribute.get_replica_context().all_gather(tf.identity(own), axis=0)

        return strategy.run(in_replica, args=(numbers,))

    return gathered


def _replica() -> Any:
    """The replica that a step of several is traced for; None: there is one, or this is no step."""
    context = tf.distribute.get_replica_context()
    return None if context is None or num_replicas() == 1 else context
