"""A step whose losses or gradients are not finite is never applied: it stops training, or is skipped and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import tensorflow as tf

from htlnet_tf.distribution import OWN_STATE, replicas_meet_in_updates, states_of
from htlnet_tf.errors import NonFiniteError

Policy = Literal["raise", "skip"]

_CAUSES = (
    "likely causes: a learning rate that is too high; amounts of a very large scale with standardise=False; a loss or "
    "layer of your own that divides by zero or takes the logarithm of zero. The weights are those of the step before. "
    "on_nonfinite='skip' leaves such steps out and counts them"
)


class NonFiniteGuard(tf.Module):
    """Watches the steps of one model.

    Args:
      tasks: Target names, in target order.
      policy: `"raise"` or `"skip"`.

    Raises:
      ValueError: The policy is neither.
    """

    def __init__(self, tasks: Sequence[str], policy: Policy) -> None:
        super().__init__(name="nonfinite_guard")
        if policy not in ("raise", "skip"):
            raise ValueError(f"on_nonfinite must be 'raise' or 'skip', received {policy!r}")
        self.tasks, self.policy = tuple(tasks), policy
        # Of the first bad step: its number, the task (T: none of them, the weights of the towers), loss and norm.
        self._seen = tf.Variable(
            [-1.0, -1.0, 0.0, 0.0],
            dtype=tf.float64,
            **OWN_STATE,
        )

    def run(
        self,
        step: tf.Tensor,
        losses: tf.Tensor,
        norms: tf.Tensor,
        others: Sequence[tf.Tensor],
        update: Callable[[tf.Tensor | None], None],
        show: Callable[[], None],
    ) -> tf.Tensor:
        """Applies a step if it is finite. Under a strategy the arguments are of the global batch, so that all replicas
        decide alike.

        Args:
          step: Number of the step, an integer scalar.
          losses: float32 [T].
          norms: Norms of the tasks' gradients at the shared rows, float32 [T], or [1] of their sum (0 if frozen).
          others: The gradients of the other weights; none if all of them are frozen.
          update: Updates the weights; takes the condition for it where replicas meet on the way, else None.
          show: Updates metrics, and what else moves with the steps.

        Returns:
          Whether the step was applied, a boolean scalar.
        """
        sound = tf.math.is_finite(losses)
        per_task = sound & tf.math.is_finite(norms)
        # A sum is finite only if every term is; overflow of a sum of finite terms is no healthy gradient either.
        rest = tf.math.is_finite(tf.add_n([tf.zeros([]), *(tf.reduce_sum(gradient) for gradient in others)]))
        healthy = tf.reduce_all(per_task) & rest
        if self.policy == "skip":
            if replicas_meet_in_updates():
                update(healthy)
                return tf.cond(healthy, lambda: _and_true(show), lambda: tf.constant(False))
            return tf.cond(healthy, lambda: _and_true(lambda: update(None), show), lambda: tf.constant(False))
        # A loss that is not finite may spoil other tasks' gradients too, so it is blamed first.
        blamed = tf.cast(tf.where(tf.reduce_all(sound), per_task, sound), tf.int32)
        bad = tf.where(tf.reduce_all(per_task), len(self.tasks), tf.argmin(blamed, output_type=tf.int32))
        stop = tf.cond(healthy, lambda: tf.constant(True), lambda: self._record_and_stop(step, bad, losses, norms))
        with tf.control_dependencies([stop]):
            update(None)
            show()
        return healthy

    def error(self) -> NonFiniteError | None:
        """The error that tells of the recorded step; None if there was none. Forgets it."""
        replicas = states_of(self._seen)
        recorded = [record for record in (replica.numpy() for replica in replicas) if record[0] >= 0]
        if not recorded:
            return None
        step, task, loss, norm = (float(value) for value in recorded[0])
        for replica in replicas:
            replica.assign([-1.0, -1.0, 0.0, 0.0])
        if int(task) == len(self.tasks):
            what = "the gradient of a tower's weights is not finite, though every loss and embedding gradient is,"
        else:
            what = f"target '{self.tasks[int(task)]}': loss {loss:g}, norm of its embedding gradient {norm:g}"
        return NonFiniteError(f"{what} at optimizer step {int(step)}; {_CAUSES}")

    def _record_and_stop(self, step: tf.Tensor, bad: tf.Tensor, losses: tf.Tensor, norms: tf.Tensor) -> tf.Tensor:
        task = tf.minimum(bad, len(self.tasks) - 1)
        norm = norms[tf.minimum(task, tf.size(norms) - 1)]
        seen = [tf.cast(value, tf.float64) for value in (step, bad, losses[task], norm)]
        with tf.control_dependencies([self._seen.assign(tf.stack(seen))]):
            # The operation itself: tf.debugging.Assert would put another condition around it.
            data = [tf.constant("a loss or gradient is not finite; task"), bad, tf.constant("step"), step]
            stop = tf.raw_ops.Assert(condition=tf.constant(False), data=data)
        with tf.control_dependencies([] if stop is None else [stop]):
            return tf.constant(False)


def _and_true(*functions: Callable[[], None]) -> tf.Tensor:
    """Both branches of a condition must return alike."""
    for function in functions:
        function()
    return tf.constant(True)
