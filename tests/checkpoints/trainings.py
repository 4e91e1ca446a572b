"""Small trainings that are stopped and go on, for the tests of checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from htlnet_tf.checkpoints.state import named_variables
from htlnet_tf.runs.callbacks import GradientHistory, KeepBest, TrainingSeconds


class Kill(Exception):
    """Stands for a SIGKILL: nothing runs behind it that a killed process would not have had either."""


class KillAfter(tf.keras.callbacks.Callback):
    """Kills a training once it has made so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._left -= 1
        if self._left == 0:
            raise Kill


class Result(NamedTuple):
    """What a training leaves."""

    variables: dict[str, np.ndarray]
    history: dict[str, list[float]]
    gradients: dict[str, list[float]]
    checks: int

    def require_same(self, other: Result) -> None:
        """Weights to 1e-5, and all that was gathered on the way."""
        assert self.variables.keys() == other.variables.keys()
        for name, value in self.variables.items():
            np.testing.assert_allclose(value, other.variables[name], rtol=1e-5, atol=1e-5, err_msg=name)
        for one, two in ((self.history, other.history), (self.gradients, other.gradients)):
            assert one.keys() == two.keys()
            for name, numbers in one.items():
                np.testing.assert_allclose(numbers, two[name], rtol=1e-3, atol=1e-5, err_msg=name)
        assert self.checks == other.checks


def trained(
    model: Any, rows: Any, callbacks: Sequence[Any] = (), *, level_rows: Any = None, **arguments: Any
) -> Result:
    """Fits a model that has its first values, with early stopping and all that `htlnet train` gathers."""
    keep_best, gradients, seconds = KeepBest(patience=5), GradientHistory(), TrainingSeconds()
    model.level_rows = level_rows
    history = model.fit(rows, callbacks=[*callbacks, keep_best, gradients, seconds], verbose=0, **arguments).history
    variables = {name: variable.numpy() for name, variable in named_variables(model).items()}
    return Result(variables, history, gradients.history, len(seconds.seconds))


def trained_with_kills(train: Callable[[Sequence[Any]], Result], kills: Sequence[int], checkpoints: Any) -> Result:
    """Trains anew after each kill, as another process would.

    Args:
      train: From callbacks to the result; makes model and rows anew.
      kills: After how many steps each of the first trainings is killed.
      checkpoints: Makes the callback.
    """
    for steps in kills:
        try:
            train([KillAfter(steps), checkpoints()])
        except Kill:
            continue
        raise AssertionError("the training has ended before it was killed")
    return train([checkpoints()])
