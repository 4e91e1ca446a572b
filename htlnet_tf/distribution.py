"""What knows of replicas: their number, state that each keeps for itself, and reading all of it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

OWN_STATE: dict[str, Any] = {
    "trainable": False,
    "synchronization": tf.VariableSynchronization.ON_READ,
    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
}
"""Options of a variable that each replica writes for itself within a step; read outside, it is the first one's."""


def num_replicas() -> int:
    """Replicas that a step runs on: 1 without a `tf.distribute` strategy.

    The optimizer sums gradients over them, so a loss that is a mean carries 1 / num_replicas() on each.
    """
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def replica_number() -> tf.Tensor | int:
    """Which replica a step is traced for, from 0; 0 without a `tf.distribute` strategy."""
    context = tf.distribute.get_replica_context()
    return 0 if context is None or num_replicas() == 1 else context.replica_id_in_sync_group


def states_of(variable: tf.Variable) -> tuple[tf.Variable, ...]:
    """The variables of all replicas of this process that stand behind one of `OWN_STATE`."""
    return tuple(getattr(variable, "values", (variable,)))
