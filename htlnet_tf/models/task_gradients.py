"""The gradient of each task's loss at the shared embedding, by as few backward passes as the model allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf


class TaskGradients(NamedTuple):
    """The backward half of a step.

    Attributes:
      losses: The tasks' losses, float32 scalars.
      embedded: Their gradients at the embedded fields, float32 [B, width] each; or one, of the sum of the losses.
      weights: The gradients of the other weights, of the sum of the losses; None for a weight that takes no part.
    """

    losses: list[tf.Tensor]
    embedded: list[tf.Tensor]
    weights: list[tf.Tensor | None]


def task_gradients(
    losses_of: Callable[[list[tf.Tensor]], list[tf.Tensor]],
    shared_of: Callable[[tf.Tensor], tf.Tensor],
    embedded: tf.Tensor,
    num_tasks: int,
    weights: Sequence[tf.Variable],
    *,
    per_task: bool,
    independent_towers: bool,
) -> TaskGradients:
    """Runs the forward pass and differentiates it.

    With independent towers each gets its own copy of the shared input. Differentiating the sum of the losses then gives
    the gradient of loss t at copy t, since no other loss depends on it: one backward pass for all tasks, each of which
    goes on alone through what makes the shared input of the embedded fields. Otherwise there is one pass per task.

    Args:
      losses_of: From the towers' views of the shared input to the tasks' losses.
      shared_of: From the embedded fields to the shared input, float32 [B, W]; it may have weights.
      embedded: The embedded fields, float32 [B, width].
      num_tasks: T.
      weights: The weights above the embedding.
      per_task: False: only the gradient of the sum is wanted.
      independent_towers: The model's word that tower t depends on the shared input through view t alone. It is checked
        when the step is traced.

    Raises:
      RuntimeError: The towers are not independent although the model says so; the single pass would mix the gradients.
    """
    copies = per_task and independent_towers
    with tf.GradientTape(persistent=per_task) as tape:
        tape.watch(embedded)
        shared = shared_of(embedded)
        views = [tf.identity(shared) for _ in range(num_tasks)] if copies else [shared] * num_tasks
        losses = losses_of(views)
        total = tf.add_n(losses)
    if copies:
        _require_independence(tape, losses, views)
        gradients = tape.gradient(total, [*views, *weights])
        own = [tape.gradient(shared, embedded, output_gradients=_or_zeros(g, shared)) for g in gradients[:num_tasks]]
        return TaskGradients(losses, [_or_zeros(g, embedded) for g in own], gradients[num_tasks:])
    if not per_task:
        of_sum, *of_weights = tape.gradient(total, [embedded, *weights])
        return TaskGradients(losses, [_or_zeros(of_sum, embedded)], of_weights)
    own = [_or_zeros(tape.gradient(loss, embedded), embedded) for loss in losses]
    return TaskGradients(losses, own, tape.gradient(total, list(weights)))


def _or_zeros(gradient: tf.Tensor | None, of: tf.Tensor) -> tf.Tensor:
    """The gradient of a loss that does not depend on a tensor is 0 there."""
    return tf.zeros_like(of) if gradient is None else gradient


def _require_independence(tape: tf.GradientTape, losses: Sequence[tf.Tensor], views: Sequence[tf.Tensor]) -> None:
    for t, loss in enumerate(losses):
        others = [s for s in range(len(views)) if s != t]
        # A backward pass per task would take a seventh of the time that the trace of a step takes; it decides only
        # where the graph has a path, which need not be differentiable.
        if not tf.executing_eagerly() and not _reads(loss, [views[s] for s in others]):
            continue
        found = tape.gradient(loss, [views[s] for s in others])
        for s, gradient in zip(others, found, strict=True):
            if gradient is not None:
                raise RuntimeError(
                    f"the model declares independent_towers, but the loss of target {t} depends on the input of tower "
                    f"{s}; set independent_towers = False"
                )


def _reads(loss: tf.Tensor, views: Sequence[tf.Tensor]) -> bool:
    """Whether a path leads from one of the views to the loss in the graph, without a stop-gradient on it."""
    sought, seen, left = {view.op for view in views}, set[tf.Operation](), [loss.op]
    while left:
        operation = left.pop()
        if operation in sought:
            return True
        if operation not in seen and operation.type != "StopGradient":
            seen.add(operation)
            left += [tensor.op for tensor in operation.inputs]
    return False
