"""The straightforward form that the fast one is measured against: T backward passes on dense flattened tables."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from htlnet_tf.models.htlnet import HTLNet


class NaiveHTLNet(HTLNet):
    """HTLNet whose step follows the paper's steps on the whole embedding table.

    One backward pass per task, the table's gradient as a dense tensor, flattened; directions and norms on vectors of
    the table's size; an optimizer that updates the whole table. Same architecture, losses and metrics.
    """

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step in the naive form."""
        features, targets, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        table = self.embedding.table
        weights = [w for w in self.trainable_variables if w is not table]
        with tf.GradientTape(persistent=True) as tape:
            shared = self._shared_input(self.embedding(features["ids"]), features)
            outputs = self.task_outputs([shared] * len(self.schema.targets), training=True)
            losses = self._task_losses(targets, outputs)
        gradients = [tf.reshape(tf.convert_to_tensor(tape.gradient(loss, table)), [-1]) for loss in losses]
        others: list[Any] = [None] * len(weights)
        for loss in losses:
            for i, gradient in enumerate(tape.gradient(loss, weights)):
                if gradient is not None:
                    others[i] = gradient if others[i] is None else others[i] + gradient
        adjustment: Any = self.gradient_adjustment
        core = gradients[-1]
        core_square = tf.reduce_sum(core * core)
        total = core
        for gradient in gradients[:-1]:
            product = tf.minimum(tf.reduce_sum(gradient * core), 0.0)
            direction = gradient - adjustment.alpha * product / core_square * core
            weight = tf.minimum(tf.sqrt(core_square) / tf.norm(direction), adjustment.clip)
            total += adjustment.gamma * weight * direction + (1.0 - adjustment.gamma) * direction
        combined = tf.reshape(total, tf.shape(table)) + 2.0 * self.embedding_l2 * table
        self.optimizer.apply_gradients([(combined, table), *zip(others, weights, strict=True)])
        self.on_step_end()
        self._update_metrics(targets, outputs)
        return self._results(training=False)
