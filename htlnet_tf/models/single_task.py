"""Single-task DNNs: a model for each target, trained side by side, that share nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.layout import EmbeddingLayout
from htlnet_tf.layers.embedding_tables import shared_embedding
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.nonfinite import Policy
from htlnet_tf.schema import Schema


class SingleTask(MultiTaskModel):
    """The single-task baseline: per target an embedding and a DNN of its own.

    The T models stand side by side in one: a row of the embedding table is T rows of width d next to each other, and
    tower t reads the t-th of them alone. Looking up, the L2 term and `LazyAdam` work component by component, so every
    target is trained exactly as by a model of its own on the same batches; what they have in common are the batches,
    the learning rate and, in `fit`, the epoch that early stopping keeps. The embeddings are T times as large as those
    of another model with the same `embedding_dim`.

    There is no shared parameter, the Gram matrix is diagonal, and so there is nothing to adjust: the model takes no
    `gradient_adjustment`. Nor does it take a `loss_weighting`: a weight would scale all gradients of a target's own
    network alike, which Adam all but undoes.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      embedding_dim: Width d, for each target, of the embedding rows of features that declare none of their own.
      tower_units: Widths of each DNN's hidden layers.
      embedding_l2: Strength l of l * ||row||^2 for each embedding row that a batch touches.
      gradient_metrics: Show the norm of every task's embedding gradient in `fit`.
      on_nonfinite: `"raise"` or `"skip"`, see `ModelOptions`.
      dropout: Share of each hidden activation of a DNN that is dropped in training.

    Raises:
      InputError: The encoder was fitted for another schema.
      TypeError: A subclass puts layers between the embedding and the DNNs (`shared_input`), which would share them.

    References:
      A baseline of HTLNet (arXiv:2403.17442), section 4.1.
    """

    independent_towers = True

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        embedding_dim: int = 10,
        tower_units: Sequence[int] = (128, 64, 32),
        embedding_l2: float = 1e-5,
        gradient_metrics: bool = False,
        on_nonfinite: Policy = "raise",
        dropout: float = 0.0,
        name: str = "single_task",
    ) -> None:
        if type(self).shared_input is not MultiTaskModel.shared_input:
            raise TypeError("a single-task model shares nothing, so it has no shared_input to override")
        super().__init__(
            schema,
            encoder,
            embedding_dim=embedding_dim,
            embedding_l2=embedding_l2,
            gradient_metrics=gradient_metrics,
            on_nonfinite=on_nonfinite,
            dropout=dropout,
            name=name,
        )
        self._parts = [(len(table.fields), table.dim or embedding_dim) for table in encoder.layout.tables]
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def _make_embedding(self, dim: int) -> Any:
        """A row of the embedding of each target next to one another."""
        times = len(self.schema.targets)
        return shared_embedding(_widened(self.encoder.layout, times), times * dim)

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The towers' outputs in target order; see `MultiTaskModel.task_outputs`."""
        towers = zip(self.towers, views, strict=True)
        return [tower(self._own(view, t), training)[1] for t, (tower, view) in enumerate(towers)]

    def _own(self, view: tf.Tensor, task: int) -> tf.Tensor:
        """Target t's part of the shared input [B, T * width + num_numeric]: [B, width + num_numeric]."""
        *embedded, numeric = tf.split(view, [*(f * len(self.towers) * d for f, d in self._parts), -1], axis=1)
        own = [
            tf.reshape(tf.reshape(part, [-1, fields, len(self.towers), dim])[:, :, task], [-1, fields * dim])
            for part, (fields, dim) in zip(embedded, self._parts, strict=True)
        ]
        return tf.concat([*own, numeric], axis=1)


def _widened(layout: EmbeddingLayout, times: int) -> EmbeddingLayout:
    """The layout with every declared width that many times as large."""
    return EmbeddingLayout(
        tuple(field._replace(dim=field.dim and times * field.dim) for field in layout.fields),
        tuple(table._replace(dim=table.dim and times * table.dim) for table in layout.tables),
    )
