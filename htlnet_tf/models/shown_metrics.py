"""What `fit` and `evaluate` show of a model: the losses, and the metrics of each target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from htlnet_tf.distribution import parameter_servers
from htlnet_tf.gradients.statistics import GradientStatistics
from htlnet_tf.models.heads import Head
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.objectives.metrics import RelativeLoss, Total
from htlnet_tf.objectives.rows import RowLosses

Features = Mapping[str, tf.Tensor]
Weights = Mapping[str, tf.Tensor] | None


class ShowsMetrics(ScoringModel):
    """A network with a head per target, whose running means are shown.

    Attributes:
      heads: By target name, in the funnel's order.
      gradient_statistics: Of the tasks' gradients on the embedding, which training shows as well; None: it does not.
    """

    heads: dict[str, Head]
    gradient_statistics: GradientStatistics | None
    _skipped: tf.keras.metrics.Metric | None

    def _create_metrics(self) -> None:
        """Makes what sums up the heads."""
        heads = list(self.heads.values())
        self._total_loss = Total([head.mean_loss for head in heads], "loss")
        self._relative_loss = RelativeLoss([h.judged_loss for h in heads], [h.constant_loss for h in heads])

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """What `evaluate` gives, in its order, the loss first; then what these and `fit` are computed with."""
        shown = [*self._shown_metrics(), self._relative_loss]
        return [*shown, *(m for m in super().metrics if all(m is not other for other in shown))]

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` and `test_on_batch` give as a list, in its order: the loss first.

        `train_on_batch` gives as a list what comes before the last one, `relative_loss`, which training does not have.
        """
        return [m.name for m in (*self._shown_metrics(), self._relative_loss)]

    def _update_metrics(
        self,
        targets: Mapping[str, tf.Tensor],
        outputs: Sequence[tf.Tensor],
        weights: Weights,
        losses: Mapping[str, RowLosses],
        *,
        training: bool,
    ) -> None:
        for (head, output, weight), of_rows in zip(self._by_head(outputs, weights), losses.values(), strict=True):
            head.update_metrics(head.labels(targets), output, weight, of_rows, training=training)

    def _by_head(
        self, outputs: Sequence[tf.Tensor], weights: Weights
    ) -> Iterator[tuple[Head, tf.Tensor, tf.Tensor | None]]:
        for (name, head), output in zip(self.heads.items(), outputs, strict=True):
            yield head, output, None if weights is None else weights.get(name)

    def _shown_metrics(self) -> list[tf.keras.metrics.Metric]:
        """What training and validation both show, in order."""
        heads = self.heads.values()
        of_targets = [metric for head in heads for metric in head.judged]
        return [self._total_loss, *(head.mean_loss for head in heads), *of_targets]

    def _step_results(self, *, training: bool) -> dict[str, tf.Tensor]:
        """What a step gives: the running means.

        Where workers make steps on their own nobody is shown those of one, and each would be read over the network:
        what is left tells of which kind the step was.
        """
        if not parameter_servers():
            return self._results(training=training)
        name, metric = ("loss", self._total_loss) if training else ("relative_loss", self._relative_loss)
        return {name: metric.result()}

    def _results(self, *, training: bool) -> dict[str, tf.Tensor]:
        results = {metric.name: metric.result() for metric in self._shown_metrics()}
        if not training:
            results["relative_loss"] = self._relative_loss.result()
        if training and self.gradient_statistics is not None and self._trained_tables():
            results.update(self.gradient_statistics.result())
        if training and self._skipped is not None:
            results["skipped_steps"] = self._skipped.result()
        return results
