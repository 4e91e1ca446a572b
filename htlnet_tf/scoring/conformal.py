"""Levels that hold: which of a model's own levels as many labels lie below as a nominal one says.

A model's distribution may be too narrow, too wide or of another form. Of rows that it was not trained on, let
u_i = F(y_i | x_i) be the level of the label, drawn evenly from the jump where F has a point mass. Were F true, u would
be uniform. Whatever F is, if a new row is exchangeable with these n its u is at most the ceil((n + 1) q)-th smallest of
theirs with a probability of q at least, and 1 / (n + 1) more at most: that is the model's own level for the nominal q.

This holds on the mean over the rows, not for rows of one kind, and no better than the new rows are like the old ones.

References:
  Chernozhukov, Wuethrich, Zhu: "Distributional conformal prediction", PNAS 118, 2021; Kuleshov, Fenner, Ermon:
  "Accurate Uncertainties for Deep Learning Using Calibrated Regression", ICML 2018.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Continuous, Schema
from htlnet_tf.scoring.calibration.curve import Curve
from htlnet_tf.scoring.label_levels import label_levels

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel

LEAST_ROWS = 500
_GRID = np.arange(1, 200) / 200
_STEP = 1e-6  # between the model's levels of neighbouring nominal ones, so that each has one inverse
_SEED = 0


def conformal_levels(model: ScoringModel, parts: Iterable[EncodedRows]) -> dict[str, Curve]:
    """The curves from nominal levels to a model's own, of the targets that are declared `conformal`.

    Every row with a label counts alike, whatever its weight.

    Args:
      model: A trained model; its calibration, if it has one, has no levels yet.
      parts: Encoded rows that were not trained on, in parts.

    Returns:
      By target.

    Raises:
      InputError: The rows are too few for a level.
    """
    wanted = conformal_targets(model.schema)
    drawn: dict[str, list[np.ndarray]] = {target.name: [] for target in wanted}
    random = np.random.default_rng(_SEED)
    for part in parts if wanted else ():
        levels = label_levels(model, part.features, part.labels, crps=False)
        for target in wanted:
            if target.name in levels:
                below, at = levels[target.name].loc[Observed.of(part, target).rows, ["below", "at"]].to_numpy().T
                drawn[target.name].append(below + (at - below) * random.random(len(at)))
    return {t.name: level_curve(t.name, np.concatenate(drawn[t.name] or [np.empty(0)]), t.quantiles) for t in wanted}


def level_curve(name: str, levels: np.ndarray, quantiles: Sequence[float]) -> Curve:
    """From nominal levels to the model's own.

    Args:
      name: Of the target, for the message.
      levels: u of n rows that were not trained on.
      quantiles: The nominal levels that are asked for; the curve has a point at each, and at 199 others.

    Raises:
      InputError: There are fewer rows than 500, or than the outermost of these levels needs.
    """
    require_enough_rows(name, len(levels), quantiles)
    ordered = np.sort(np.asarray(levels, np.float64))
    ends = [q for q in (0.001, 0.0025, 0.9975, 0.999) if _rank(q, len(ordered)) <= len(ordered)]
    nominal = np.unique(np.round([*_GRID, *quantiles, *ends], 9))
    own = ordered[[_rank(q, len(ordered)) - 1 for q in nominal]]
    # Rising by a step at least, also where many rows lie at 0 or 1, beyond all quantiles that the model knows.
    up = np.arange(1, len(own) + 1) * _STEP
    own = np.maximum.accumulate(np.clip(own, up, 1.0 - up[::-1]) - up) + up
    return Curve((0.0, *nominal.tolist(), 1.0), (0.0, *np.minimum(own, 1.0 - up[::-1]).tolist(), 1.0), 0.0, 0.0)


def require_enough_rows(name: str, rows: int, quantiles: Sequence[float]) -> None:
    """Refuses to say of a handful of rows where a level is.

    Args:
      name: Of the target.
      rows: That have a label and were not trained on.
      quantiles: The levels that are asked for.

    Raises:
      InputError: There are fewer than 500, or so few that none is expected beyond an outermost level.
    """
    tail = min(*quantiles, *(1.0 - q for q in quantiles))
    needed = max(LEAST_ROWS, math.ceil(1.0 / tail - 1e-9))
    if rows < needed:
        raise InputError(
            f"target '{name}': conformal needs at least {needed:,} rows that were not trained on for the quantiles "
            f"{list(quantiles)}; there are {rows:,}: give more rows to validation, leave out outer levels, or conformal"
        )


def require_rows(schema: Schema, rows: EncodedRows) -> None:
    """Checks, before anything is trained, that rows will do for the targets that are declared `conformal`.

    Raises:
      InputError: They will not.
    """
    for target in conformal_targets(schema):
        require_enough_rows(target.name, len(Observed.of(rows, target).rows), target.quantiles)


def conformal_targets(schema: Schema) -> tuple[Continuous, ...]:
    """The amounts whose levels are corrected."""
    return tuple(target for target in schema.with_quantiles if target.conformal)


def _rank(q: float, rows: int) -> int:
    """ceil((n + 1) q), but for what rounding adds."""
    return math.ceil((rows + 1) * q - 1e-9)
