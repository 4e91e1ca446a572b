"""Adam whose cost follows the rows that a batch touches, not the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


class LazyAdam(tf.keras.optimizers.Adam):
    """Adam that leaves the weights and moments of untouched embedding rows as they are.

    Keras' Adam decays the moments of the whole table at every step. This one moves only the rows in an `IndexedSlices`
    gradient; their bias correction uses the optimizer's step, as in Adam. On a batch that touches every row it equals
    Adam. Dense gradients are Adam's.

    Args:
      learning_rate: A number or a schedule.
      **kwargs: As for `tf.keras.optimizers.Adam`, except `amsgrad`, `weight_decay` and `use_ema`, which move every row.

    References:
      Kingma, Ba: "Adam: A Method for Stochastic Optimization", ICLR 2015, section 2. The lazy form is that of
      TensorFlow Addons' LazyAdam.
    """

    def __init__(self, learning_rate: Any = 1e-3, **kwargs: Any) -> None:
        for name in ("amsgrad", "weight_decay", "use_ema"):
            if kwargs.get(name):
                raise ValueError(f"LazyAdam has no {name}: it would move rows that the batch does not touch")
        kwargs.setdefault("name", "LazyAdam")
        # Keras turns it on where there is a GPU; XLA would compile anew for every number of touched rows.
        kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate, **kwargs)

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Updates a variable: all of it for a dense gradient, the rows of a sparse one.

        Args:
          gradient: Of the variable's shape, or `IndexedSlices` with indices that are distinct, as the base class hands
            them over.
          variable: The weights.
        """
        rate = tf.cast(self.learning_rate, variable.dtype)
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_1_power = tf.pow(tf.cast(self.beta_1, variable.dtype), step)
        beta_2_power = tf.pow(tf.cast(self.beta_2, variable.dtype), step)
        slot = self._index_dict[self._var_key(variable)]
        m, v = self._momentums[slot], self._velocities[slot]
        if not isinstance(gradient, tf.IndexedSlices):
            # Adam in one operation, where Keras' takes ten per variable.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )
            return
        alpha = rate * tf.sqrt(1.0 - beta_2_power) / (1.0 - beta_1_power)
        rows, values = gradient.indices, gradient.values
        m_rows, v_rows = tf.gather(m, rows), tf.gather(v, rows)
        m_rows += (values - m_rows) * (1.0 - self.beta_1)
        v_rows += (tf.square(values) - v_rows) * (1.0 - self.beta_2)
        m.scatter_update(tf.IndexedSlices(m_rows, rows))
        v.scatter_update(tf.IndexedSlices(v_rows, rows))
        variable.scatter_sub(tf.IndexedSlices(alpha * m_rows / (tf.sqrt(v_rows) + self.epsilon), rows))

    def _deduplicate_sparse_grad(
        self, grads: Sequence[tf.Tensor | tf.IndexedSlices]
    ) -> list[tf.Tensor | tf.IndexedSlices]:
        return [g if _rows_are_distinct(g) else super(LazyAdam, self)._deduplicate_sparse_grad([g])[0] for g in grads]


def _rows_are_distinct(gradient: tf.Tensor | tf.IndexedSlices) -> bool:
    """Whether a graph proves that no row occurs twice: the indices come straight out of a Unique operation."""
    if not isinstance(gradient, tf.IndexedSlices) or tf.executing_eagerly():
        return False
    return gradient.indices.op.type in ("Unique", "UniqueV2") and gradient.indices.value_index == 0
