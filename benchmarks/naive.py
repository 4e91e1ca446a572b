"""The straightforward form that the fast one is measured against: T backward passes on dense flattened tables."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.layout import PADDING_ROW
from htlnet_tf.models.htlnet import HTLNet
from htlnet_tf.schema import Schema


class NaiveHTLNet(HTLNet):
    """HTLNet whose step follows the paper's steps on the whole embedding tables.

    One backward pass per task; the tables' gradients as dense tensors, flattened into one vector; directions and norms
    on vectors of the tables' size; an optimizer that updates all of them. Same architecture, losses and metrics.

    Args:
      schema: The declared columns, single-valued features only.
      encoder: Says how many rows there are.
      one_table: Keep all features in one table; False: a table for each, as with a Keras `Embedding` per feature.
    """

    def __init__(self, schema: Schema, encoder: FeatureEncoder, *, one_table: bool = False) -> None:
        super().__init__(schema, encoder, name="naive_htlnet")
        count = 1 if one_table else len(encoder.slots)
        rows, rest = divmod(encoder.num_rows - PADDING_ROW - 1, count)
        assert not rest, "the benchmark's features have vocabularies of one size"
        self._rows = rows
        self.tables = [
            tf.Variable(tf.random.normal([rows, self.embedding.dim], stddev=0.003), name=f"table_{i}")
            for i in range(count)
        ]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step in the naive form."""
        features, targets, sample_weights = self._unpack(data)
        own = {table.ref() for table in self.tables} | {self.embedding.table.ref()}
        weights = [w for w in self.trainable_variables if w.ref() not in own]
        with tf.GradientTape(persistent=True) as tape:
            shared = self._look_up(features["ids"] - PADDING_ROW - 1)
            outputs = self.training_outputs([shared] * len(self.schema.targets), targets, sample_weights)
            rows = self._row_losses(targets, outputs, sample_weights)
            losses = self._trained_losses(rows, outputs, sample_weights)
        flat = []
        others: list[Any] = [None] * len(weights)
        for loss in losses:
            gradients = tape.gradient(loss, [*self.tables, *weights])
            dense = [tf.reshape(tf.convert_to_tensor(g), [-1]) for g in gradients[: len(self.tables)]]
            flat.append(tf.concat(dense, axis=0))
            for i, gradient in enumerate(gradients[len(self.tables) :]):
                if gradient is not None:
                    others[i] = gradient if others[i] is None else others[i] + gradient
        parts = tf.split(self._adjusted(flat), [self._rows * self.embedding.dim] * len(self.tables))
        combined = [
            tf.reshape(part, [self._rows, self.embedding.dim]) + 2.0 * self.embedding_l2 * table
            for part, table in zip(parts, self.tables, strict=True)
        ]
        self.optimizer.apply_gradients([*zip(combined, self.tables, strict=True), *zip(others, weights, strict=True)])
        self.on_step_end()
        self._update_metrics(targets, outputs, sample_weights, rows, training=True)
        return self._results(training=True)

    def _look_up(self, ids: tf.Tensor) -> tf.Tensor:
        if len(self.tables) == 1:
            return tf.reshape(tf.gather(self.tables[0], ids), [-1, self.embedding.width])
        columns = tf.unstack(ids, num=len(self.tables), axis=1)
        return tf.concat(
            [
                tf.gather(table, c - i * self._rows)
                for i, (table, c) in enumerate(zip(self.tables, columns, strict=True))
            ],
            axis=1,
        )

    def _adjusted(self, gradients: list[tf.Tensor]) -> tf.Tensor:
        adjustment: Any = self.gradient_adjustment
        core = gradients[-1]
        core_square = tf.reduce_sum(core * core)
        total = core
        for gradient in gradients[:-1]:
            product = tf.minimum(tf.reduce_sum(gradient * core), 0.0)
            direction = gradient - adjustment.alpha * product / core_square * core
            allowed = adjustment.clip
            if adjustment.relative_clip:
                allowed *= tf.sqrt(core_square) / tf.norm(gradient)
            weight = tf.minimum(tf.sqrt(core_square) / tf.norm(direction), allowed)
            total += adjustment.gamma * weight * direction + (1.0 - adjustment.gamma) * direction
        return total
