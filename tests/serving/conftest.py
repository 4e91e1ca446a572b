"""A tiny SavedModel with string, int64 and float columns, and an embedded server that serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import htlnet_tf  # noqa: F401  # before TensorFlow: it makes tf.keras mean Keras 2
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import BuildOnce


@pytest.fixture(scope="session")
def models(build_once: BuildOnce) -> Path:
    """MODELS with one model `tiny`, version 1 (factor 1) and version 2 (factor 10).

    `serving_default`: city string [N], count int64 [N], price float [N] -> click = factor * price,
    length = bytes of city + count (int64), probs = [price, 2 price] ([N, 2]), city (string).
    `one`: x float [N, 1] -> y = 2 x. `checked`: x float [N] -> x, refused by the graph from 10 on.
    `classify`, `regress`: tf.Example with a (float, required) and b (float, else 0) -> classes no, yes and their
    scores [1 - p, p]; outputs = p, where p = factor * (a + b). `slow`: turns int64 [] -> turns, after so many turns of
    a loop. Nobody may change what lies there.
    """
    return build_once("tiny_models", _save_tiny_models)


def _save_tiny_models(path: Path) -> None:
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

        def _sum(self, examples):  # type: ignore[no-untyped-def]
            features = {
                "a": tf.io.FixedLenFeature([], tf.float32),
                "b": tf.io.FixedLenFeature([], tf.float32, default_value=0.0),
            }
            parsed = tf.io.parse_example(examples, features)
            return self.factor * (parsed["a"] + parsed["b"])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def classify(self, inputs):  # type: ignore[no-untyped-def]
            p = self._sum(inputs)
            return {"classes": tf.tile([["no", "yes"]], [tf.size(p), 1]), "scores": tf.stack([1.0 - p, p], axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def regress(self, inputs):  # type: ignore[no-untyped-def]
            return {"outputs": self._sum(inputs)}

        @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="turns")])
        def slow(self, turns):  # type: ignore[no-untyped-def]
            return {"turns": tf.while_loop(lambda i: i < turns, lambda i: i + 1, [tf.constant(0, tf.int64)])[0]}

    for folder, factor in (("1", 1.0), ("00000002", 10.0)):
        module = Tiny(factor)
        names = ("one", "checked", "classify", "regress", "slow")
        signatures = {"serving_default": module.score, **{name: getattr(module, name) for name in names}}
        tf.saved_model.save(module, str(path / "tiny" / folder), signatures=signatures)
    for ignored in ("abc", "3-tmp", "-4"):
        (path / "tiny" / ignored).mkdir()


CONFIG = """
model_config_list {
  config {
    name: "tiny" base_path: "/models/tiny" model_platform: "tensorflow"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
}
"""


@pytest.fixture(scope="module")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Both versions of `tiny`, with the labels stable (1) and canary (2)."""
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text(CONFIG, encoding="utf-8")
    with EmbeddedServer(models, port=0, model_config_file=config) as running:
        yield running


@pytest.fixture(scope="session")
def ranker_models(build_once: BuildOnce) -> Path:
    """MODELS with one model `ranker` that has the signatures of an exported one, version 1.

    age float and user string belong to the user, item int64 and price float to the items. `serving_default` takes all
    as [N], `candidates` the user's as [1], `examples` serialized tf.Examples: buy = age * price + item,
    click = bytes of user + 2 age, name (string) = user and item.
    """
    return build_once("ranker_models", _save_ranker)


def _save_ranker(path: Path) -> None:
    import tensorflow as tf

    def scores(age, user, item, price):  # type: ignore[no-untyped-def]
        many = tf.zeros_like(price)
        return {
            "click": tf.cast(tf.strings.length(user), tf.float32) + 2.0 * age + many,
            "buy": age * price + tf.cast(item, tf.float32),
            "name": tf.strings.join([user, tf.strings.as_string(item)]),
        }

    def specs(users: int | None) -> list[tf.TensorSpec]:
        return [
            tf.TensorSpec([users], tf.float32, name="age"),
            tf.TensorSpec([users], tf.string, name="user"),
            tf.TensorSpec([None], tf.int64, name="item"),
            tf.TensorSpec([None], tf.float32, name="price"),
        ]

    class Ranker(tf.Module):
        @tf.function(input_signature=specs(None))
        def rows(self, age, user, item, price):  # type: ignore[no-untyped-def]
            return scores(age, user, item, price)

        @tf.function(input_signature=specs(1))
        def candidates(self, age, user, item, price):  # type: ignore[no-untyped-def]
            return scores(age, tf.repeat(user, tf.size(item)), item, price)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def examples(self, examples):  # type: ignore[no-untyped-def]
            kinds = {"age": tf.float32, "user": tf.string, "item": tf.int64, "price": tf.float32}
            parsed = tf.io.parse_example(examples, {n: tf.io.FixedLenFeature([], k) for n, k in kinds.items()})
            return scores(**parsed)

    module = Ranker()
    signatures = {"serving_default": module.rows, "candidates": module.candidates, "examples": module.examples}
    tf.saved_model.save(module, str(path / "ranker" / "1"), signatures=signatures)


@pytest.fixture(scope="module")
def ranker_server(ranker_models: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ranker_models, port=0, grpc_port=0) as running:
        yield running
