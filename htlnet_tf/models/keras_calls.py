"""Keras' methods of a model as they work here: what they take, print, return and refuse."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from htlnet_tf.agreement import require_agreement
from htlnet_tf.checkpoints.keeping import Start, called_last, checkpoints_of
from htlnet_tf.checkpoints.position import parts_of_a_batch
from htlnet_tf.distribution import parameter_servers
from htlnet_tf.encoding.passes import passes_of
from htlnet_tf.encoding.streaming import stream_error
from htlnet_tf.models.averaging import with_averaged_weights
from htlnet_tf.models.encoded_batches import require_encoded
from htlnet_tf.models.level_fitting import FitsLevel
from htlnet_tf.models.nonfinite import NonFiniteGuard
from htlnet_tf.models.planning import planned_steps
from htlnet_tf.models.progress import as_list, with_short_progress
from htlnet_tf.models.saving import require_weights_only
from htlnet_tf.optimizers import LazyAdam


class KerasCalls(FitsLevel):
    """A network that is compiled, fitted, evaluated and asked by encoded batches, as any Keras model is."""

    embedding: Any
    _guard: NonFiniteGuard
    _train_counter: Any
    _resumed: Start | None = None

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As `tf.keras.Model.compile`, without a loss: the schema's targets fix it.

        Args:
          optimizer: `LazyAdam(1e-3)` if left out.
          **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile`.

        Raises:
          TypeError: Another argument is given, such as `loss` or `metrics`.
          ValueError: `jit_compile` with `on_nonfinite="raise"`: XLA drops the check that stops a bad step.
        """
        if kwargs.get("jit_compile") and self._guard.policy == "raise":
            raise ValueError('jit_compile needs on_nonfinite="skip": XLA drops the check that stops a bad step')
        unknown = set(kwargs) - {"run_eagerly", "steps_per_execution", "jit_compile"}
        if unknown:
            raise TypeError(f"the targets of the schema fix losses and metrics; compile takes no {sorted(unknown)}")
        self.embedding.portable = bool(kwargs.get("jit_compile"))
        optimizer = LazyAdam(1e-3) if optimizer is None else optimizer
        super().compile(optimizer, weighted_metrics=[], **kwargs)  # none: or Keras warns of datasets with weights

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `tf.keras.Model.fit`; prints the losses and one metric per target, `History` has all of them.

        Raises:
          NonFiniteError: A loss or gradient is not finite and `on_nonfinite` is `"raise"`.
          InputError: A stream of rows could not be read to its end, a frame of raw rows is given, or a callback would
            save the whole model.
        """
        require_encoded("fit", *args, **kwargs)
        given = self._bound("fit", *args, **kwargs)
        callbacks, validation = given.get("callbacks"), given.get("validation_data")
        require_weights_only(callbacks)
        require_encoded("fit", *(validation if isinstance(validation, (list, tuple)) else [validation]))
        self._guard.error()  # what a step outside of fit has recorded is none of this one's
        if self.calibration is not None:
            logging.warning("the model's calibration was of the weights before this training: calibrate it again")
            self.calibration = None
        callbacks = with_short_progress(self.schema, callbacks, given.get("verbose"))
        callbacks = with_averaged_weights(self.optimizer, callbacks)
        self.on_fit_start(planned_steps(given))
        checkpoints = checkpoints_of(as_list(callbacks))
        try:
            if checkpoints is None:
                history = self._fit_and_level(given, callbacks)
            else:
                callbacks = called_last(checkpoints, callbacks)
                with checkpoints.training(self, given, as_list(callbacks)[:-1]) as start:
                    history = self._fit_and_level(given, callbacks, start)
        except tf.errors.OpError as failed:
            error = self._guard.error() or stream_error(failed)
            if error is None:
                raise
            raise error from None
        return history

    def _fit_and_level(self, given: Mapping[str, Any], callbacks: Any, start: Start | None = None) -> Any:
        """Keras' `fit`, and then that of the level.

        Args:
          given: The arguments of `fit` by name.
          callbacks: In their place.
          start: Where it goes on; None: it begins at the beginning.
        """
        rows = given.get("x") if start is None else start.rows
        self._resumed = None if start is None else start
        passes = passes_of(rows)
        began = None if passes is None else passes.upcoming
        parts = 1 if passes is None else parts_of_a_batch(rows, self.distribute_strategy)
        if passes is not None and parts == 1:
            # Each worker takes its part of every batch, which must be the same one.
            require_agreement(
                self.distribute_strategy,
                {"the seed of the order of rows": passes.seed},
                remedy="give `make_dataset` a seed, the same on all of them",
            )
        try:
            history = super().fit(**{**given, "x": rows, "callbacks": callbacks})
        finally:
            self._resumed = None
        if passes is not None and began is not None and given.get("steps_per_epoch") is not None:
            # Rows that are repeated are read ahead, some way into the next pass: how far must make no difference.
            dropped = 0 if start is None else start.dropped
            batches, parts_used = divmod(int(self._train_counter) + dropped, parts)
            number, batch = passes.locate(began.number, began.first, batches)
            passes.start_at(number + (batch > 0 or parts_used > 0))
        self._level_after_fit(given)
        return history

    def _maybe_load_initial_counters_from_ckpt(self, steps_per_epoch: Any, initial_epoch: int) -> tuple[int, int]:
        """Where Keras' `fit` begins, which asks this for its own way of going on after a failure."""
        resumed = self._resumed
        if resumed is None or resumed.place is None:
            return super()._maybe_load_initial_counters_from_ckpt(steps_per_epoch, initial_epoch)
        return resumed.place

    def make_train_function(self, force: bool = False) -> Any:
        """As Keras'; where `fit` goes on in rows that cannot begin in the middle, it drops those that were used."""
        function = super().make_train_function(force)
        left = 0 if self._resumed is None else self._resumed.dropped
        if not left:
            return function

        def first_dropping(iterator: Any) -> Any:
            nonlocal left
            for _ in range(left):
                next(iterator)
            left = 0
            return function(iterator)

        return first_dropping

    def _validate_and_get_metrics_result(self, logs: Any) -> Any:
        """What an epoch shows. Workers of a `ParameterServerStrategy` end their steps in any order, so that it is what
        the metrics say after all of them; Keras would take what a step has seen that was scheduled last.
        """
        if not parameter_servers():
            return super()._validate_and_get_metrics_result(logs)
        results = self._results(training="relative_loss" not in logs)
        return {name: result.numpy() for name, result in results.items()}

    def on_fit_start(self, steps: int | None) -> None:
        """Hook for state that is planned by the steps that `fit` is to make; None: it does not know their number."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `tf.keras.Model.evaluate`, of encoded batches; `htlnet_tf.evaluate` takes raw rows.

        Raises:
          InputError: A frame of raw rows is given.
        """
        require_encoded("evaluate", *args, **kwargs)
        given = self._bound("evaluate", *args, **kwargs)
        callbacks = with_short_progress(self.schema, given.get("callbacks"), given.get("verbose"))
        return super().evaluate(**(given | {"callbacks": callbacks}))

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As `tf.keras.Model.train_on_batch`; a list has what `metrics_names` names, a dict all."""
        given = self._bound("train_on_batch", *args, **kwargs)
        results = super().train_on_batch(**(given | {"return_dict": True}))
        if given.get("return_dict"):
            return results
        return [results[name] for name in self.metrics_names if name in results]

    def _bound(self, method: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments of one of Keras' methods by name."""
        bound = inspect.signature(getattr(tf.keras.Model, method)).bind(self, *args, **kwargs).arguments
        further = bound.pop("kwargs", {})
        return {name: value for name, value in bound.items() if name != "self"} | further
