"""Exponential moving averages of weights, of which a step moves some rows alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf


class MovingAverages:
    """a_t = sum_i m^(t-i) w_i / sum_i m^(t-i) over the weights w_1 .. w_t after each step.

    The start values of the weights have no part in it. A step that touches some rows of a table costs as many: a row
    that was left alone since step s has had the weights w all along, so that its average is made up for when it is next
    looked at, a_t = w + k (a_s - w) with k = m^(t-s) (1 - m^s) / (1 - m^t). This is the average over all steps, to
    rounding, and not one over the steps that touched the row.

    Where weights and averages have changed places, see `exchange`, the variable has the average.

    Args:
      momentum: m, in (0, 1).
      variables: The weights.
      averages: Slots of the variables' shapes.
      seen: int32 [rows] per variable, or [] of one without rows: s, the step that a row's average is of; 0: none yet.
      steps: int32 [], t.
      exchanged: int32 [], 1 while the variables have the averages.

    References:
      Polyak, Juditsky: "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 30(4), 1992; the
      correction of the start as in Kingma, Ba: "Adam", ICLR 2015, section 3.
    """

    def __init__(
        self,
        momentum: float,
        variables: Sequence[tf.Variable],
        averages: Sequence[tf.Variable],
        seen: Sequence[tf.Variable],
        steps: tf.Variable,
        exchanged: tf.Variable,
    ) -> None:
        self._log_momentum = math.log(momentum)
        self._variables, self._averages, self._seen = list(variables), averages, seen
        self._steps, self._exchanged = steps, exchanged

    def update(self, slot: int, before: tf.Tensor, after: tf.Tensor, rows: tf.Tensor | None = None) -> None:
        """Moves an average by one step, the one after `steps`.

        Args:
          slot: Which variable's.
          before: Its weights before the step, or [U, ...], those of the rows that it touches.
          after: Likewise after it.
          rows: [U], distinct: the rows; None: all of them.
        """
        average, seen = self._averages[slot], self._seen[slot]
        step = tf.identity(self._steps)
        a, s = (average, seen) if rows is None else (tf.gather(average, rows), tf.gather(seen, rows))
        a = before + self._kept(s, step, before) * (a - before)
        rate = self._total(tf.constant(1)) / self._total(step + 1)
        a += tf.cast(rate, a.dtype) * (after - a)
        now = tf.ones_like(s) * (step + 1)
        if rows is None:
            average.assign(a)
            seen.assign(now)
        else:
            average.scatter_update(tf.IndexedSlices(a, rows))
            seen.scatter_update(tf.IndexedSlices(now, rows))

    def advance(self) -> None:
        """Counts a step, once the averages of all variables that it moved are updated."""
        self._steps.assign_add(1)

    def exchange(self, *, averaged: bool) -> None:
        """Puts the averages into the variables, or the weights back; nothing if they are there.

        Args:
          averaged: Which of the two.
        """
        steps, exchanged = (int(tf.convert_to_tensor(v)) for v in (self._steps, self._exchanged))
        if not steps or bool(exchanged) == averaged:
            return
        for variable, average, seen in zip(self._variables, self._averages, self._seen, strict=True):
            weights, other = tf.identity(variable), tf.identity(average)
            if averaged:
                other = weights + self._kept(seen, self._steps, weights) * (other - weights)
                seen.assign(tf.ones_like(seen) * self._steps)
            variable.assign(other)
            average.assign(weights)
        self._exchanged.assign(int(averaged))

    def slots(self, slot: int) -> list[tf.Variable]:
        """A variable's average, and the steps that its rows are of."""
        return [self._averages[slot], self._seen[slot]]

    def restart(self) -> None:
        """Begins anew from what the variables have."""
        for variable in (*self._seen, self._steps, self._exchanged):
            variable.assign(tf.zeros_like(variable))

    def _kept(self, seen: tf.Tensor, step: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """K for rows that are left alone from `seen` to `step`, shaped to multiply `like`; 0 where none was seen."""
        decay = tf.exp(tf.cast(step - seen, tf.float32) * self._log_momentum)
        kept = decay * tf.math.divide_no_nan(self._total(seen), self._total(step))
        shape = tf.concat([tf.shape(seen), tf.ones([len(like.shape) - len(seen.shape)], tf.int32)], axis=0)
        return tf.cast(tf.reshape(kept, shape), like.dtype)

    def _total(self, step: tf.Tensor) -> tf.Tensor:
        """1 - m^t, without the rounding of 1 - m."""
        return -tf.math.expm1(tf.cast(step, tf.float32) * self._log_momentum)
