"""Counts the labels of a continuous target for its objective."""

from __future__ import annotations

import numpy as np

from htlnet_tf.encoding.counting import RunningMoments, UniformSample
from htlnet_tf.objectives.label_statistics import GRID, LabelStatistics


class LabelCounter:
    """Gathers `LabelStatistics` from a stream of labels."""

    def __init__(self) -> None:
        self._all, self._logs, self._sample = RunningMoments(), RunningMoments(), UniformSample()

    def update(self, labels: np.ndarray) -> None:
        """Adds observed labels, float64 [N]."""
        self._all.update(labels)
        self._logs.update(np.log(labels[labels > 0]))
        self._sample.update(labels)

    def statistics(self) -> LabelStatistics:
        """What was gathered; of no labels, those of a label of 0."""
        # As they are trained on; what a float32 cannot tell apart is one label.
        ordered = np.sort(self._sample.kept.astype(np.float32)).astype(np.float64)
        size = max(len(ordered), 1)
        # The last label of each of the parts but one, so that a bound is a label that exists.
        quantiles = ordered[np.arange(1, min(GRID, size)) * size // min(GRID, size) - 1]
        cuts = np.searchsorted(ordered, np.unique(quantiles), side="right")
        parts = [part for part in np.split(ordered, cuts) if len(part)]
        return LabelStatistics(
            mean=self._all.mean,
            std=self._all.std,
            positive_share=self._logs.count / max(self._all.count, 1),
            log_mean=self._logs.mean,
            log_std=self._logs.std,
            quantiles=tuple(quantiles.tolist()),
            part_means=tuple(float(part.mean()) for part in parts),
            part_shares=tuple(len(part) / size for part in parts),
        )
