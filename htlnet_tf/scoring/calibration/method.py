"""What a way to calibrate is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from htlnet_tf.errors import InputError

if TYPE_CHECKING:
    from htlnet_tf.scoring.calibration.curve import Curve
    from htlnet_tf.scoring.calibration.sample import Sample


STEEPEST = 30.0
"""How many times what rounding makes of a prediction a curve may multiply: a server rounds otherwise than training, and
what it answers must be the same to 1e-5."""


class Method(Protocol):
    """From predictions and labels to the curve that leads from the ones to the others.

    Attributes:
      least_rows: Rows that it takes; fewer are refused.
      least_of_each: How many of them have to be rows where it happened, and how many rows where it did not; of an
        amount, rows with an amount that is not 0.
      for_steps: It is for probabilities.
      for_amounts: It is for amounts.
    """

    least_rows: int
    least_of_each: int
    for_steps: bool
    for_amounts: bool

    def fit(self, sample: Sample, *, probability: bool, non_negative: bool) -> Curve:
        """Fits it.

        Args:
          sample: Predictions [M] and labels [M].
          probability: The labels are 0 and 1.
          non_negative: No label is below 0.
        """


def require_enough(name: str, method_name: str, method: Method, labels: np.ndarray, *, probability: bool) -> None:
    """Refuses to calibrate on a handful of rows.

    Args:
      name: What is calibrated, for the message.
      method_name: What the method is called.
      method: It.
      labels: Of the rows that take part, [M].
      probability: The labels are 0 and 1.

    Raises:
      InputError: There are fewer rows, or labels of one sort, than the method needs.
    """
    happened, rows = int(np.count_nonzero(labels)), len(labels)
    fewest = min(happened, rows - happened) if probability else happened
    if rows >= method.least_rows and fewest >= method.least_of_each:
        return
    each = "of either label" if probability else "with an amount"
    found = f"{happened:,} where it happened" if probability else f"{happened:,} with an amount"
    raise InputError(
        f"calibration of '{name}' by '{method_name}' needs at least {method.least_rows:,} rows that were not trained "
        f"on, {method.least_of_each:,} of them {each}; there are {rows:,}, {found}: give more rows, or take a method "
        "with fewer parameters, or 'none'"
    )
