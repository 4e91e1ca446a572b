"""The metrics of an amount's quantiles, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from htlnet_tf.judging.exact_metrics import Floats, Outcome
from htlnet_tf.schema import Continuous
from htlnet_tf.schema.names import quantile_suffix


def quantile_metrics(
    target: Continuous, y: Floats, quantiles: Floats | None, levels: pd.DataFrame | None
) -> dict[str, Outcome]:
    """The metrics of one target, by name; none where its quantiles are not predicted, as by references.

    Args:
      target: With quantiles.
      y: Labels, [M].
      quantiles: [M, K].
      levels: [M] rows of `htlnet_tf.scoring.label_levels`; None: of ready-made predictions the pinball loss alone.
    """
    if quantiles is None or not len(y):
        return {}
    found: dict[str, Outcome] = {}
    if levels is not None:
        below, at = levels["below"].to_numpy(np.float64), levels["at"].to_numpy(np.float64)
        for q in target.quantiles:
            found[f"coverage_p{quantile_suffix(q)}"] = float(covered(below, at, q).mean())
        if len(target.quantiles) > 1:
            found["interval_coverage"] = float(interval_of(target.quantiles, below, at)[1].mean())
    losses = [pinball(y, quantiles[:, k], q).mean() for k, q in enumerate(target.quantiles)]
    found["pinball"] = float(np.mean(losses))
    if levels is not None:
        crps, size = float(levels["crps"].mean()), float(np.mean(np.abs(y)))
        found |= {"crps": crps, "ncrps": "all labels are 0" if size == 0 else crps / size}
    return found


def covered(below: Floats, at: Floats, q: float) -> Floats:
    """Which part of each label lies below the quantile at level q, in [0, 1]; see `htlnet_tf.judging.uncertainty`.

    Args:
      below: P(y' < y), [M].
      at: P(y' <= y), [M].
      q: In (0, 1).
    """
    jump = at - below
    part = np.clip((q - below) / np.where(jump > 0.0, jump, 1.0), 0.0, 1.0)
    return np.asarray(np.where(jump > 0.0, part, at <= q), np.float64)


def interval_of(quantiles: Sequence[float], below: Floats, at: Floats) -> tuple[float, Floats]:
    """The interval from the first quantile to the last: which share should lie inside, and which part of each does."""
    low, high = quantiles[0], quantiles[-1]
    return high - low, covered(below, at, high) - covered(below, at, low)


def pinball(y: Floats, quantile: Floats, q: float) -> Floats:
    """max(q (y - Q), (q - 1) (y - Q)), [M]: its mean is least where Q is the quantile at level q."""
    beyond = y - quantile
    return np.asarray(np.maximum(q * beyond, (q - 1.0) * beyond))
