"""The one error type for input that the user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """The caller's data, schema, configuration or path is not usable as it is.

    The message states the rule, then what was received, and where there is one, the column and the first offending
    row. The command line prints it without a traceback and ends with exit code 2.
    """


class NonFiniteError(RuntimeError):
    """A loss or gradient is infinite or NaN; training has stopped before the step was applied.

    The message names the target, the optimizer step, what was seen and the likely causes. The model has the weights of
    the step before.
    """


class VerificationError(RuntimeError):
    """An exported model does not give the trained model's scores; it has not been published."""
