"""Several trained networks as one model, whose predictions are their mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import tensorflow as tf
from absl import logging

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.scoring_model import Scores, ScoringModel, mean_scores


class Ensemble(ScoringModel):
    """The mean of several models that were trained independently, usually of one configuration with different seeds.

    A row is encoded once, and each member scores it. What is averaged are the predictions themselves, each in its own
    space: probabilities of a step, class probabilities of a multiclass one (their sum stays 1), amounts in their unit.
    So the ensemble is the equal mixture of its members: P(y > 0) or any other probability of it is the mean of the
    members', an expectation the mean of their expectations, and quantiles are the mixture's. Logits, standardised
    outputs and parameters of distributions have no such mean; who wants them asks the `members`. An amount whose
    objective predicts a median (`Quantile(prediction="median")`) is the mean of the members' medians. A calibration is
    the ensemble's; those of its members do not count.

    Every member keeps its own level, which `fit` has brought to the total of the training rows. The total of a mean is
    the mean of the totals, so the ensemble has that level too and none of its own; a member whose raw outputs are high
    does not outweigh the others.

    An ensemble is not trained, its members are. `htlnet_tf.evaluate`, `predict`, `save_run`, `load_run` and
    `export.export_model` take it as they take a single model, and `model.predict` encoded batches.

    Args:
      members: Trained models with one schema and encoder; at least one. They may be of different classes.
      name: Of the model.

    Raises:
      InputError: There are no members, or they have different schemas or encoders.

    References:
      Lakshminarayanan, Pritzel, Blundell: "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
      NeurIPS 2017, arXiv:1612.01474: members from random starts, treated as a uniformly weighted mixture.

    Example:
      >>> def train(seed):
      ...     rows = htl.data.make_dataset(train_rows, schema, encoder, batch_size=1024, shuffle=True, seed=seed)
      ...     model = htl.HTLNet(schema, encoder)
      ...     model.compile(optimizer=htl.LazyAdam(1e-3))
      ...     model.fit(rows, epochs=2, verbose=2)
      ...     return model
      >>> model = htl.Ensemble.train(train, seeds=range(3))
    """

    def __init__(self, members: Sequence[MultiTaskModel], *, name: str | None = None) -> None:
        super().__init__(name=name)
        if not members:
            raise InputError("an ensemble needs at least one member")
        for number, member in enumerate(members, start=1):
            if not isinstance(member, MultiTaskModel):
                raise InputError(
                    f"the members of an ensemble are single models; member {number} is {type(member).__name__}: of an "
                    "ensemble give the members, `*ensemble.members`"
                )
        first = members[0]
        for number, other in enumerate(members[1:], start=2):
            if other.schema != first.schema:
                raise InputError(f"the members of an ensemble need one schema: that of member {number} is another")
            if other.encoder is not first.encoder and other.encoder.statistics != first.encoder.statistics:
                raise InputError(
                    f"the members of an ensemble need one encoder: that of member {number} was fitted on other rows"
                )
        if any(member.calibration is not None for member in members):
            logging.warning("the members' own calibrations do not count in their ensemble: calibrate the ensemble")
        if len({id(member) for member in members}) < len(members):
            raise InputError("a model is a member of the ensemble twice")
        self.schema = first.schema
        self._members = list(members)

    @classmethod
    def train(
        cls, train: Callable[[int], MultiTaskModel], seeds: Iterable[int], *, name: str | None = None
    ) -> Ensemble:
        """Trains the members one after the other.

        Args:
          train: From a seed to a trained model. TensorFlow's, NumPy's and Python's global seeds are set to it before
            each call; the order of the rows has its own, of `make_dataset`.
          seeds: One per member, each once.
          name: Of the model.

        Raises:
          InputError: There are no seeds, or one is named twice.
        """
        listed = list(seeds)
        if not listed or len(set(listed)) < len(listed):
            raise InputError(f"an ensemble needs at least one seed, and each once; received {listed}")
        members = []
        for seed in listed:
            tf.keras.utils.set_random_seed(seed)
            members.append(train(seed))
        return cls(members, name=name)

    @property
    def members(self) -> tuple[MultiTaskModel, ...]:
        """The trained models, in the order in which they were given."""
        return tuple(self._members)

    @property
    def encoder(self) -> FeatureEncoder:
        """Raw columns -> what every member takes."""
        return self._members[0].encoder

    @property
    def title(self) -> str:
        """E.g. `"HTLNet x3"`; of members of several classes `"Ensemble x3"`."""
        titles = {member.title for member in self._members}
        return f"{titles.pop() if len(titles) == 1 else type(self).__name__} x{len(self._members)}"

    def call(self, features: Mapping[str, tf.Tensor], training: bool = False) -> Scores:
        """The mean of the members' predictions; arguments and result are those of `ScoringModel.call`."""
        return mean_scores([member(features, training=training) for member in self._members])

    def compile(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, and names what works.

        Raises:
          InputError: Always.
        """
        raise InputError(f"an ensemble is not compiled: {_INSTEAD}")

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, and names what works.

        Raises:
          InputError: Always.
        """
        raise InputError(f"an ensemble is not fitted: {_INSTEAD}")

    def evaluate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses, and names what works: the mean of predictions has no outputs that a training loss could be of.

        Raises:
          InputError: Always.
        """
        raise InputError(f"an ensemble has no losses: {_INSTEAD}")


_INSTEAD = (
    "its members are trained one by one, see `htlnet_tf.Ensemble.train`, and `htlnet_tf.evaluate(model, frame)` judges "
    "the mean of their predictions"
)
