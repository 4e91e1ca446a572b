"""Brings the totals of a model's amounts to those of its training rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from htlnet_tf.data.stream import READ_ONCE
from htlnet_tf.models.shown_metrics import ShowsMetrics


class FitsLevel(ShowsMetrics):
    """A network whose heads have a level, see `htlnet_tf.objectives.level`; every step of an evaluation adds up what it
    is taken from, so that nothing is traced for it alone.
    """

    level_rows: tf.data.Dataset | None = None
    """Training rows that `fit` brings the level to at its end; None: those that it is given."""

    levels_after_fit = True
    """Whether `fit` does so; else `fit_level` is to be called."""

    def fit_level(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> dict[str, float]:
        """Brings the total of each amount that has a level to that of rows, which should be the training rows.

        The dispersion of an amount with quantiles is estimated in the same pass, where its objective needs one. `fit`
        does it at its end. It takes one pass over the rows, without a backward pass.

        Args:
          x: As for `fit`: a dataset of encoded batches, or features with `y` and `sample_weight` beside them.
          y: Targets by name, if `x` are features.
          sample_weight: As for `fit`; weights multiply both sums.
          **kwargs: `batch_size` and `steps`, as for `evaluate`.

        Returns:
          The factors, by target name.
        """
        settled = {name: head for name, head in self.heads.items() if head.is_settled}
        if not settled:
            return {}
        # What `fit` has shown last stays as it is.
        shown = [(variable, variable.numpy()) for metric in self.metrics for variable in metric.variables]
        # Keras' evaluation takes every kind of data and strategy.
        super().evaluate(x, y, sample_weight=sample_weight, verbose=0, return_dict=True, **kwargs)
        factors = {name: head.settle() for name, head in settled.items()}
        for variable, value in shown:
            variable.assign(value)
        return {name: factor for name, factor in factors.items() if settled[name].level is not None}

    def _level_after_fit(self, given: Mapping[str, Any]) -> None:
        """Fits the level on `level_rows`, or on what `fit` was given: on one epoch's steps where that has no end."""
        if not self.levels_after_fit:
            return
        if self.level_rows is not None:
            self.fit_level(self.level_rows)
            return
        x, steps = given.get("x"), given.get("steps_per_epoch")
        rows = [x, given.get("y"), given.get("sample_weight")]
        if isinstance(x, Iterator) or getattr(x, READ_ONCE, False):
            if any(head.is_settled for head in self.heads.values()):
                logging.warning("fit was given an iterator, which cannot be read twice: call model.fit_level(dataset)")
        elif steps is not None and not _has_an_end(x):
            self.fit_level(x, steps=steps)
        else:
            if share := given.get("validation_split"):
                # Keras takes the last rows for validation.
                first = math.floor(len(tf.nest.flatten(x)[0]) * (1.0 - share))
                rows = [None if part is None else tf.nest.map_structure(lambda a: a[:first], part) for part in rows]
            self.fit_level(*rows, batch_size=given.get("batch_size"))


def _has_an_end(x: Any) -> bool:
    """Whether what Keras takes as rows is known to end by itself."""
    if isinstance(x, tf.data.Dataset):
        return bool(x.cardinality() >= 0)
    return isinstance(x, (tf.keras.utils.Sequence, Mapping))
