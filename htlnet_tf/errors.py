"""The one error type for input that the user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """The caller's data, schema, configuration or path is not usable as it is.

    The message states the rule, then what was received, and where there is one, the column and the first offending
    row. The command line prints it without a traceback and ends with exit code 2.
    """
