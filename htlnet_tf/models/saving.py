"""What of Keras' ways to save and copy works for the models here, and what is refused before anything is written."""

from __future__ import annotations

from typing import Any, NoReturn

import tensorflow as tf
import tensorflow_recommenders as tfrs

from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path
from htlnet_tf.models.progress import as_list

_INSTEAD = (
    "a model here is its weights, its arguments, its schema and its fitted encoder, which Keras' formats do not keep "
    "together: `htlnet_tf.save_run(model, 'runs/mine')` writes all of it and `htlnet_tf.load_run('runs/mine').model` "
    "reads it; `model.save_weights` and `load_weights` keep the weights alone (ModelCheckpoint with "
    "save_weights_only=True); `htlnet_tf.export.export_model` writes what TensorFlow Serving serves"
)


class SavedByItsWeights(tfrs.Model):
    """A model whose weights Keras saves, and that refuses to be saved or copied as a whole.

    Keras would write a model whose constructor takes more than plain values without a word, and be unable to read it.
    """

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, and names what works.

        Raises:
          InputError: Always.
        """
        _refuse("`model.save`")

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, and names what works; arguments and errors are those of `save`."""
        _refuse("`model.export`")

    def get_config(self) -> NoReturn:
        """Refuses, and names what works: `clone_model`, `to_json` and the `.keras` format begin with this method.

        Raises:
          InputError: Always.
        """
        _refuse("`get_config`, which `clone_model`, `to_json` and Keras' `save_model` begin with,")

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """As `tf.keras.Model.save_weights`, a `~` expanded.

        Raises:
          InputError: TensorFlow could not read the weights back from that path.
        """
        super().save_weights(str(checkpoint_path(filepath)), *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        """As `tf.keras.Model.load_weights`, a `~` expanded.

        Raises:
          InputError: TensorFlow cannot read weights from that path.
        """
        return super().load_weights(str(checkpoint_path(filepath)), *args, **kwargs)

    def __reduce__(self) -> NoReturn:
        _refuse("pickling a model")

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        _refuse("copying a model")

    def __copy__(self) -> NoReturn:
        _refuse("copying a model")

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> Any:
        # Whatever writes a SavedModel asks for these first, before it makes the folder.
        if save_type == "savedmodel":
            _refuse("writing a model as a SavedModel")
        return super()._trackable_children(save_type, **kwargs)


def require_weights_only(callbacks: Any) -> None:
    """Refuses a ModelCheckpoint of whole models before the first epoch, not after it.

    Args:
      callbacks: What `fit` was given: a callback, a list of them, Keras' `CallbackList`, or None.

    Raises:
      InputError: One of them would call `model.save`.
    """
    for callback in as_list(callbacks):
        if isinstance(callback, tf.keras.callbacks.ModelCheckpoint):
            if not callback.save_weights_only:
                _refuse("a ModelCheckpoint without save_weights_only=True")
            checkpoint_path(callback.filepath)


def _refuse(what: str) -> NoReturn:
    raise InputError(f"{what} is refused, because it could not be read back: {_INSTEAD}")
