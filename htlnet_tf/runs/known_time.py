"""Whether rows are from a time that a run knows already."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import logging

from htlnet_tf.data import timestamps
from htlnet_tf.data.split_config import TimeSplit
from htlnet_tf.runs.lineage import load_lineage
from htlnet_tf.runs.parts import load_split


def warn_of_known(times: timestamps.Timestamps, run: str | Path, *, consequence: str) -> None:
    """Says how many rows are from a time that a run has learned or was calibrated on, if any are.

    Args:
      times: Of the rows.
      run: The run folder. One whose rows were not split by time says nothing.
      consequence: What comes of it.
    """
    lineage, split = load_lineage(run), load_split(run)
    ends = [] if lineage is None else [day.last for day in lineage.days if day.last is not None]
    unit = None
    if ends:  # a further day is learned to its end
        points, inclusive = ends[-1:], False
    elif split is not None and isinstance(split.config, TimeSplit):
        inclusive, unit = split.config.dates is not None, split.config.unit
        points = list(split.config.points if inclusive else split.cuts or ())[-1:]
    else:
        return
    kind, _ = timestamps.exact(points[0])
    if kind != times.kind and not (kind == "datetime" and times.kind == "number" and unit is not None):
        logging.warning(
            f"whether the run '{run}' knows the rows already cannot be told: it knows those up to {points[0]}, and "
            f"the column '{times.name}' holds {times.kind}s"
        )
        return
    known = int(np.sum(times.passed(points, inclusive=inclusive, unit=unit) == 0))
    if known:
        logging.warning(
            f"{known:,} of the {len(times.values):,} rows are from a time that the run '{run}' knows already (up to "
            f"{points[0]}): {consequence}"
        )
