"""Comparisons under several conditions, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path


def across_conditions(folders: Mapping[str, str | Path], metric: str = "regret") -> pd.DataFrame:
    """One metric of every run of several comparisons, e.g. for `htlnet_tf.plots.plot_regret`.

    Args:
      folders: By the label of a condition, the folder that `compare` has written.
      metric: A metric, or `regret`.

    Returns:
      A row per run and target that has the metric: `condition`, `model` (the variant), `seed`, `target`, `value`.

    Raises:
      InputError: A folder is no comparison, or no run in it has the metric.

    Example:
      >>> rows = across_conditions({"0": "runs/dependence_0", "1": "runs/dependence_1"})
      >>> htl.plots.plot_regret(rows, "regret.png", x="dependence")
    """
    parts = []
    for condition, folder in folders.items():
        path = local_path(folder) / "runs.csv"
        try:
            runs = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read '{path}': {error}") from error
        named = [str(column) for column in runs if str(column).endswith(f"/{metric}")]
        if not named:
            raise InputError(f"no run in '{folder}' has the metric '{metric}'")
        for column in named:
            rows = runs[["variant", "seed"]].rename(columns={"variant": "model"})
            parts.append(rows.assign(condition=condition, target=column.removesuffix(f"/{metric}"), value=runs[column]))
    names = ["condition", "model", "seed", "target", "value"]
    return pd.concat(parts, ignore_index=True)[names].dropna(ignore_index=True)
