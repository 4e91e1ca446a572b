"""Adam whose cost follows the rows that a batch touches, not the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from htlnet_tf.distribution import parameter_servers
from htlnet_tf.optimizers.averages import MovingAverages


class _OfStep(NamedTuple):
    """What the updates of all variables of a type share: scalars of that type."""

    rate: tf.Tensor
    beta_1: tf.Tensor
    beta_2: tf.Tensor
    beta_1_power: tf.Tensor
    beta_2_power: tf.Tensor
    epsilon: tf.Tensor


class LazyAdam(tf.keras.optimizers.Adam):
    """Adam that leaves the weights and moments of untouched embedding rows as they are.

    Keras' Adam decays the moments of the whole table at every step. This one moves only the rows in an `IndexedSlices`
    gradient; their bias correction uses the optimizer's step, as in Adam. On a batch that touches every row it equals
    Adam. Dense gradients are Adam's.

    With `use_ema` it keeps the moving average of the weights over all steps, see `MovingAverages`, at a cost that
    follows the touched rows too. `fit` of the models then validates, stops and ends with the averages; in a loop of
    your own `finalize_variable_values` puts them into the weights.

    Args:
      learning_rate: A number or a schedule.
      **kwargs: As for `tf.keras.optimizers.Adam`, `use_ema` and `ema_momentum` (the share m of the average that a step
        leaves, such as 0.999) among them; except `amsgrad`, `weight_decay` and `ema_overwrite_frequency`, which move
        every row.

    Example:
      >>> model.compile(LazyAdam(1e-3, use_ema=True, ema_momentum=0.999))

    References:
      Kingma, Ba: "Adam: A Method for Stochastic Optimization", ICLR 2015, section 2. The lazy form is that of
      TensorFlow Addons' LazyAdam.
    """

    def __init__(self, learning_rate: Any = 1e-3, **kwargs: Any) -> None:
        for name in ("amsgrad", "weight_decay", "ema_overwrite_frequency"):
            if kwargs.get(name):
                raise ValueError(f"LazyAdam has no {name}: it would move rows that the batch does not touch")
        momentum = kwargs.get("ema_momentum", 0.99)
        if kwargs.get("use_ema") and not 0.0 < momentum < 1.0:
            raise ValueError(f"ema_momentum must be in (0, 1), received {momentum}")
        kwargs.setdefault("name", "LazyAdam")
        # Keras turns it on where there is a GPU; XLA would compile anew for every number of touched rows.
        kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate, **kwargs)
        self._moving: MovingAverages | None = None
        self._of_step: dict[tf.DType, _OfStep] = {}

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """As Keras', with what averages need beside the slots.

        Args:
          var_list: The weights that will be trained.

        Raises:
          ValueError: Averages under a `ParameterServerStrategy`, whose workers make their steps on their own: of an
            average that each of them moves, none knows the steps.
        """
        if self.use_ema and parameter_servers():
            raise ValueError(
                "LazyAdam has no use_ema under a ParameterServerStrategy: its workers' steps have no order"
            )
        built = getattr(self, "_built", False)
        super().build(var_list)
        if built or not self.use_ema:
            return
        averages = self._model_variables_moving_average
        rows = [self.add_variable(v.shape[:1], tf.int32, name=f"seen_{i}") for i, v in enumerate(var_list)]
        steps, exchanged = (self.add_variable([], tf.int32, name=name) for name in ("averaged_steps", "exchanged"))
        self._moving = MovingAverages(self.ema_momentum, var_list, averages, rows, steps, exchanged)

    def use_averages(self, averaged: bool) -> None:
        """Puts the averages into the weights, or the weights themselves back.

        Args:
          averaged: Which of the two; nothing happens if they are there already, or nothing is averaged.
        """
        if self._moving is not None:
            self._moving.exchange(averaged=averaged)

    def restart_averages(self) -> None:
        """The weights stay what they are, and averages begin anew with the next step."""
        if self._moving is not None:
            self._moving.restart()

    def finalize_variable_values(self, var_list: Sequence[tf.Variable]) -> None:
        """Puts the averages into the weights, if there are any, and begins anew; `fit` does it at its end.

        Args:
          var_list: As for Keras'; it is the weights that the optimizer was built for.
        """
        self.use_averages(True)
        self.restart_averages()

    def slots(self, variable: tf.Variable) -> list[tf.Variable]:
        """What is kept of a variable once the optimizer is built: moments, and averages with what they need.

        Each has the variable's rows along its first axis, of which 0 is the start.

        Args:
          variable: One that the optimizer was built for.
        """
        slot = self._index_dict[self._var_key(variable)]
        kept = [self._momentums[slot], self._velocities[slot]]
        if self._moving is not None:
            kept += self._moving.slots(slot)
        return kept

    def update_step(self, gradient: tf.Tensor | tf.IndexedSlices, variable: tf.Variable) -> None:
        """Updates a variable: all of it for a dense gradient, the rows of a sparse one.

        Args:
          gradient: Of the variable's shape, or `IndexedSlices` with indices that are distinct, as the base class hands
            them over.
          variable: The weights.
        """
        step = self._of_step.get(variable.dtype) or self._numbers(variable.dtype)
        slot = self._index_dict[self._var_key(variable)]
        m, v = self._momentums[slot], self._velocities[slot]
        if not isinstance(gradient, tf.IndexedSlices):
            before = None if self._moving is None else tf.identity(variable)
            # Adam in one operation, where Keras' takes ten per variable.
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=step.beta_1_power,
                beta2_power=step.beta_2_power,
                lr=step.rate,
                beta1=step.beta_1,
                beta2=step.beta_2,
                epsilon=step.epsilon,
                grad=gradient,
            )
            if self._moving is not None:
                self._moving.update(slot, before, variable.read_value())
            return
        alpha = step.rate * tf.sqrt(1.0 - step.beta_2_power) / (1.0 - step.beta_1_power)
        rows, values = gradient.indices, gradient.values
        m_rows, v_rows = tf.gather(m, rows), tf.gather(v, rows)
        m_rows += (values - m_rows) * (1.0 - self.beta_1)
        v_rows += (tf.square(values) - v_rows) * (1.0 - self.beta_2)
        m.scatter_update(tf.IndexedSlices(m_rows, rows))
        v.scatter_update(tf.IndexedSlices(v_rows, rows))
        change = alpha * m_rows / (tf.sqrt(v_rows) + self.epsilon)
        if parameter_servers():
            # Two workers may move a row at the same moment; no change gets lost where the server subtracts.
            variable.scatter_sub(tf.IndexedSlices(change, rows))
            return
        # Elsewhere to read the rows and to write them takes a third of the time that subtracting from them does.
        before = tf.gather(variable, rows)
        after = before - change
        if self._moving is not None:
            self._moving.update(slot, before, after, rows)
        variable.scatter_update(tf.IndexedSlices(after, rows))

    def _distributed_apply_gradients_fn(
        self, distribution: Any, grads_and_vars: Sequence[tuple[Any, tf.Variable]], **kwargs: Any
    ) -> Any:
        """As Keras'; what the updates share is made once, and not for each of dozens of variables."""
        grads_and_vars = list(grads_and_vars)
        if not self.jit_compile:  # or the function of a variable, which outlives a trace, would keep this one's
            self._of_step = {dtype: self._numbers(dtype) for dtype in {v.dtype for _, v in grads_and_vars}}
        try:
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        finally:
            self._of_step = {}

    def _numbers(self, dtype: tf.DType) -> _OfStep:
        beta_1, beta_2, step = (tf.cast(number, dtype) for number in (self.beta_1, self.beta_2, self.iterations + 1))
        return _OfStep(
            rate=tf.cast(self.learning_rate, dtype),
            beta_1=beta_1,
            beta_2=beta_2,
            beta_1_power=tf.pow(beta_1, step),
            beta_2_power=tf.pow(beta_2, step),
            epsilon=tf.cast(self.epsilon, dtype),
        )

    def _update_model_variables_moving_average(self, var_list: Sequence[tf.Variable]) -> None:
        """Keras calls it behind the steps of all variables, which have moved their averages themselves."""
        if self._moving is not None:
            self._moving.advance()

    def _deduplicate_sparse_grad(
        self, grads: Sequence[tf.Tensor | tf.IndexedSlices]
    ) -> list[tf.Tensor | tf.IndexedSlices]:
        return [g if _rows_are_distinct(g) else super(LazyAdam, self)._deduplicate_sparse_grad([g])[0] for g in grads]


def _rows_are_distinct(gradient: tf.Tensor | tf.IndexedSlices) -> bool:
    """Whether a graph proves that no row occurs twice: the indices come straight out of a Unique operation, or are a
    shard's part of such, counted from its first row.
    """
    if not isinstance(gradient, tf.IndexedSlices) or tf.executing_eagerly():
        return False
    indices = gradient.indices
    while indices.op.type in ("Sub", "DynamicPartition"):
        if indices.op.type == "Sub" and indices.op.inputs[1].shape.rank != 0:
            return False
        indices = indices.op.inputs[0]
    return indices.op.type in ("Unique", "UniqueV2") and indices.value_index == 0
