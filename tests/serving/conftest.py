"""A tiny SavedModel with string, int64 and float columns, and an embedded server that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import htlnet_tf  # noqa: F401  # before TensorFlow: it makes tf.keras mean Keras 2
from htlnet_tf.serving import EmbeddedServer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MODELS with one model `tiny`, version 1 (factor 1) and version 2 (factor 10).

    `serving_default`: city string [N], count int64 [N], price float [N] -> click = factor * price,
    length = bytes of city + count (int64), probs = [price, 2 price] ([N, 2]), city (string).
    `one`: x float [N, 1] -> y = 2 x. `checked`: x float [N] -> x, refused by the graph from 10 on.
    """
    import tensorflow as tf

    class Tiny(tf.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = tf.Variable(factor)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name="city"),
                tf.TensorSpec([None], tf.int64, name="count"),
                tf.TensorSpec([None], tf.float32, name="price"),
            ]
        )
        def score(self, city, count, price):  # type: ignore[no-untyped-def]
            return {
                "click": self.factor * price,
                "length": tf.cast(tf.strings.length(city), tf.int64) + count,
                "probs": tf.stack([price, 2.0 * price], axis=1),
                "city": tf.identity(city),
            }

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def one(self, x):  # type: ignore[no-untyped-def]
            return {"y": 2.0 * x}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def checked(self, x):  # type: ignore[no-untyped-def]
            with tf.control_dependencies([tf.debugging.assert_less(x, 10.0, message="x too big")]):
                return {"x_out": tf.identity(x)}

    path = tmp_path_factory.mktemp("models")
    for folder, factor in (("1", 1.0), ("00000002", 10.0)):
        module = Tiny(factor)
        signatures = {"serving_default": module.score, "one": module.one, "checked": module.checked}
        tf.saved_model.save(module, str(path / "tiny" / folder), signatures=signatures)
    for ignored in ("abc", "3-tmp", "-4"):
        (path / "tiny" / ignored).mkdir()
    return path


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(models, port=0) as running:
        yield running
