"""The thresholds of a question for P(y > t), as a caller gives them, and what the answers are called."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from htlnet_tf.errors import InputError


def checked_thresholds(thresholds: Any) -> list[float]:
    """Thresholds as numbers.

    Args:
      thresholds: One number, or several.

    Raises:
      InputError: There are none, one is no finite number, or one is there twice.
    """
    if getattr(thresholds, "ndim", None) == 0:
        thresholds = np.asarray(thresholds)[()]  # an array of no dimension says that it can be iterated, and cannot
    given = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not given or isinstance(thresholds, (str, bytes)):
        raise InputError(f"thresholds must be at least one number in the target's unit, received {thresholds!r}")
    numbers = []
    for value in given:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, (str, bytes, bool, np.bool_)):
            raise InputError(f"thresholds must be finite numbers in the target's unit, received {value!r}")
        numbers.append(number)
    names = exceedance_columns("", numbers)
    repeated = [number for name, number in zip(names, numbers, strict=True) if names.count(name) > 1]
    if repeated:
        raise InputError(f"each threshold is asked for once, but {repeated[0]:.9g} is there more than once")
    return numbers


def exceedance_columns(target: str, thresholds: Iterable[float]) -> list[str]:
    """The columns of P(y > t) in a table, `spend_above_10` and so on."""
    return [f"{target}_above_{threshold:.9g}" for threshold in thresholds]
