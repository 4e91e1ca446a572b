"""Makes `tf.keras` mean Keras 2 before TensorFlow resolves it, or says in one sentence why that is too late."""

from __future__ import annotations

import os
import sys


class KerasVersionError(ImportError):
    """`tf.keras` is Keras 3 in this process already; the package needs Keras 2 (tf-keras)."""


def require_keras_2() -> None:
    """Sets `TF_USE_LEGACY_KERAS=1` if `tf.keras` is not loaded yet.

    tensorflow-recommenders refuses Keras 3 on import, so the package stands on Keras 2 (`tf-keras`). TensorFlow reads
    the variable when it is imported (for `import tensorflow.keras`) and again when `tf.keras` is first used.

    Raises:
      KerasVersionError: Keras 3 has been chosen in this process already.
    """
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        return
    if not _keras_3_is_chosen(tensorflow):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        return
    raise KerasVersionError(
        "htlnet_tf needs Keras 2, but TensorFlow was imported before it and has set up Keras 3 as tf.keras: import "
        "htlnet_tf before tensorflow, or put os.environ['TF_USE_LEGACY_KERAS'] = '1' before the first import of "
        "tensorflow."
    )


def _keras_3_is_chosen(tensorflow: object) -> bool:
    # TensorFlow puts a lazy loader at tf.keras and replaces it by the real module once it is used. The loader is
    # looked up in the module's dictionary, since reading the attribute would trigger the very choice asked about.
    keras = vars(tensorflow).get("keras")
    if keras is None or vars(keras).get("_tfll_initialized") is False:
        return "tensorflow.keras" in sys.modules and _is_keras_3(sys.modules["tensorflow.keras"])
    return _is_keras_3(keras)


def _is_keras_3(keras: object) -> bool:
    return not str(getattr(keras, "Model").__module__).startswith("tf_keras")  # noqa: B009 (untyped module)
