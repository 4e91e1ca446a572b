"""The factor that brings the total of an amount's predictions to that of its labels."""

from __future__ import annotations

_BOUNDS = (1e-3, 1e3)


def level_factor(actual: float, predicted: float) -> float:
    """Actual / predicted, within 1e-3 .. 1e3: beyond, something else is wrong. 1 where either total is 0.

    Args:
      actual: Total of the labels.
      predicted: Total of the predictions of the same rows.
    """
    if actual <= 0 or predicted <= 0:
        return 1.0
    return min(max(actual / predicted, _BOUNDS[0]), _BOUNDS[1])
