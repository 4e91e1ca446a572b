"""The gradient of each task's loss at the shared input, by as few backward passes as the model allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf


class TaskGradients(NamedTuple):
    """The backward half of a step.

    Attributes:
      losses: The tasks' losses, float32 scalars.
      shared: Their gradients at the shared input, float32 [B, width] each; or one, of the sum of the losses.
      weights: The gradients of the other weights, of the sum of the losses; None for a weight that takes no part.
    """

    losses: list[tf.Tensor]
    shared: list[tf.Tensor]
    weights: list[tf.Tensor | None]


def task_gradients(
    losses_of: Callable[[list[tf.Tensor]], list[tf.Tensor]],
    shared: tf.Tensor,
    num_tasks: int,
    weights: Sequence[tf.Variable],
    *,
    per_task: bool,
    independent_towers: bool,
) -> TaskGradients:
    """Runs the forward pass and differentiates it.

    With independent towers each gets its own copy of the shared input. Differentiating the sum of the losses then gives
    the gradient of loss t at copy t, since no other loss depends on it: one backward pass for all tasks. Otherwise
    there is one pass per task.

    Args:
      losses_of: From the towers' views of the shared input to the tasks' losses.
      shared: The shared input, float32 [B, width].
      num_tasks: T.
      weights: The weights above the shared input.
      per_task: False: only the gradient of the sum is wanted.
      independent_towers: The model's word that tower t depends on the shared input through view t alone. It is checked
        when the step is traced.

    Raises:
      RuntimeError: The towers are not independent although the model says so; the single pass would mix the gradients.
    """
    copies = per_task and independent_towers
    with tf.GradientTape(persistent=per_task) as tape:
        tape.watch(shared)
        views = [tf.identity(shared) for _ in range(num_tasks)] if copies else [shared] * num_tasks
        losses = losses_of(views)
        total = tf.add_n(losses)
    if not per_task or copies:
        sources = views if copies else [shared]
        if copies:
            _require_independence(tape, losses, views)
        gradients = tape.gradient(total, [*sources, *weights])
        return TaskGradients(losses, gradients[: len(sources)], gradients[len(sources) :])
    return TaskGradients(losses, [tape.gradient(loss, shared) for loss in losses], tape.gradient(total, list(weights)))


def _require_independence(tape: tf.GradientTape, losses: Sequence[tf.Tensor], views: Sequence[tf.Tensor]) -> None:
    for t, loss in enumerate(losses):
        for s, view in enumerate(views):
            if s != t and tape.gradient(loss, view) is not None:
                raise RuntimeError(
                    f"the model declares independent_towers, but the loss of target {t} depends on the input of tower "
                    f"{s}; set independent_towers = False"
                )
