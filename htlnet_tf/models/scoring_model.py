"""What scores rows, whether it is one trained network or several: all that scoring, judging and export need to know."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.models.encoded_batches import require_encoded
from htlnet_tf.models.saving import SavedByItsWeights
from htlnet_tf.schema import Schema

if TYPE_CHECKING:
    from htlnet_tf.models.base import MultiTaskModel
    from htlnet_tf.scoring.calibration import Calibration

Scores = Mapping[str, tf.Tensor]


class ScoringModel(SavedByItsWeights, abc.ABC):
    """From encoded rows to a prediction per target; `htlnet_tf.scoring` makes of these what leaves the model.

    Attributes:
      schema: The declared columns.
      calibration: What `htlnet_tf.calibrate` found on rows that were not trained on; None: predictions leave as they
        are. Keras' own methods, `fit`, `evaluate` and `predict`, know nothing of it.
    """

    schema: Schema
    calibration: Calibration | None = None

    @property
    @abc.abstractmethod
    def encoder(self) -> FeatureEncoder:
        """Raw columns -> what the model takes."""

    @property
    @abc.abstractmethod
    def members(self) -> tuple[MultiTaskModel, ...]:
        """The trained networks, whose scores' mean is the model's; of one network, itself."""

    @abc.abstractmethod
    def call(self, features: Mapping[str, tf.Tensor], training: bool = False) -> Scores:
        """Predicts from encoded features.

        Args:
          features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].
          training: Run as in a training step.

        Returns:
          By target name: probabilities [B] (binary) or [B, K] (multiclass), an amount [B] in its own unit.
        """

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As `tf.keras.Model.predict`, of encoded batches; `htlnet_tf.predict` takes raw rows.

        Raises:
          InputError: A frame of raw rows is given.
        """
        require_encoded("predict", *args, **kwargs)
        return super().predict(*args, **kwargs)

    @tf.autograph.experimental.do_not_convert  # see `MultiTaskModel.train_step`
    def predict_step(self, data: Any) -> Any:
        """As Keras'."""
        return super().predict_step(data)

    @property
    def title(self) -> str:
        """What people call it, e.g. `"HTLNet"`."""
        return type(self).__name__


def mean_scores(members: Sequence[Scores]) -> Scores:
    """The mean of several members' scores of the same rows, by target; one member's are given back as they are.

    It is taken of probabilities and of amounts in their unit, not of logits or logarithms: what an equal mixture of the
    members predicts, by the law of total expectation.

    Args:
      members: Per member, by target name, float32 [B] or [B, K].
    """
    if len(members) == 1:
        return members[0]
    return {name: tf.add_n([scores[name] for scores in members]) / len(members) for name in members[0]}
