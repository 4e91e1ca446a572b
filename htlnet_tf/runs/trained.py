"""One training as it went: the model and what was kept on the way, and the tables of it that folders have."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.models.base import MultiTaskModel


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model that has not been judged yet.

    Attributes:
      model: Has the weights of its best validation, or without early stopping the last ones.
      seed: Of its initial weights, the order of its rows and its noise.
      history: Per validation, Keras' `History.history`.
      gradient_history: Per step, see `GradientHistory`; empty for a model without gradient metrics.
      best_check: The number of the validation whose weights the model has, from 1; there are
        `training.validations_per_epoch` in a pass over the training rows.
      seconds: Of training before each validation.
    """

    model: MultiTaskModel
    seed: int
    history: dict[str, list[float]]
    gradient_history: dict[str, list[float]]
    best_check: int
    seconds: list[float]


def write_histories(trained: Sequence[Trained], directory: Path, *, index: str = "epoch") -> None:
    """Writes `history.csv`, and `gradient_history.csv` if there are any, into an existing directory.

    Args:
      trained: The members of a run.
      directory: Where.
      index: What a row of `history.csv` is of.
    """
    _numbered({member.seed: member.history for member in trained}, index).to_csv(directory / "history.csv")
    if any(member.gradient_history for member in trained):
        steps = _numbered({member.seed: member.gradient_history for member in trained}, "step")
        steps.to_csv(directory / "gradient_history.csv")


def _numbered(histories: Mapping[int, Mapping[str, Sequence[float]]], index: str) -> pd.DataFrame:
    """Histories as one table, the rows of each counted from 1 in the column `index`.

    Args:
      histories: By seed of a member. Of several the seed is the first column.
      index: What a row is of: `"epoch"`, `"step"`.
    """
    tables = {}
    for seed, history in histories.items():
        table = pd.DataFrame(dict(history))
        table.index = pd.RangeIndex(1, len(table) + 1, name=index)
        tables[seed] = table
    return next(iter(tables.values())) if len(tables) == 1 else pd.concat(tables, names=["seed"])
