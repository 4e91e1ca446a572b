"""The exported module: plain variables, lookup tables and named functions, and nothing of Keras."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from htlnet_tf.models.base import MultiTaskModel


class Servable(tf.Module):
    """What TensorFlow Serving loads: raw columns by name in, one key per target out.

    A Keras object that is saved along may load in Python and still be refused by the server, so the module owns the
    variables and lookup tables themselves; Keras layers only trace the functions.

    Args:
      model: A trained model.
    """

    def __init__(self, model: MultiTaskModel) -> None:
        super().__init__(name="servable")
        encoder = model.encoder
        self._tables = list(encoder.tables)

        def serving_default(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            scores = model(encoder(raw), training=False)
            return {name: tf.identity(score, name=name) for name, score in scores.items()}

        function = tf.function(serving_default, input_signature=[encoder.raw_specs()], autograph=False)
        self._functions = {"serving_default": function.get_concrete_function()}
        # Only what the functions read: neither the optimizer's slots nor the Gumbel temperature travels along.
        self._weights = list({v.ref(): v for f in self._functions.values() for v in f.variables}.values())

    def save(self, directory: str) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, directory, signatures=dict(self._functions))
