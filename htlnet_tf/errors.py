"""The errors that a user can mend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class InputError(ValueError):
    """The caller's data, schema, configuration or path is not usable as it is.

    The message states the rule, then what was received, and where there is one, the column and the first offending
    row. The command line prints it without a traceback and ends with exit code 2.
    """


class RowError(InputError):
    """Rows of a table break a rule.

    Args:
      message: For people; names the column, the rule, and the first offending row with its value.
      column: The column at fault.
      rows: bool [N], which rows of the checked frame break the rule.
      rule: What the column must be.
      value: What the first offending row has.
    """

    def __init__(self, message: str, *, column: str, rows: np.ndarray, rule: str, value: Any) -> None:
        super().__init__(message)
        self.column, self.rows, self.rule, self.value = column, rows, rule, value


class NonFiniteError(RuntimeError):
    """A loss or gradient is infinite or NaN; training has stopped before the step was applied.

    The message names the target, the optimizer step, what was seen and the likely causes. The model has the weights of
    the step before.
    """


class WorkerLostError(RuntimeError):
    """Another process of a training on several is gone, so that this one cannot go on."""


class VerificationError(RuntimeError):
    """An exported model does not give the trained model's scores; it has not been published."""
