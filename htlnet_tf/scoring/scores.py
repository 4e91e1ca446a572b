"""What leaves a model: the predictions of its networks, averaged, calibrated, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from htlnet_tf.models.scoring_model import mean_scores
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.scoring.amounts import AmountDistribution, amount_distributions
from htlnet_tf.scoring.calibration.calibration import IdsOfField
from htlnet_tf.scoring.ranking import ranking_score

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


class Predicted(NamedTuple):
    """What every score is made of.

    Attributes:
      outputs: Per member, the towers' outputs in target order, [B] or [B, num_outputs].
      uncalibrated: The members' mean predictions by target.
      predictions: The same after calibration.
    """

    outputs: Sequence[Sequence[tf.Tensor]]
    uncalibrated: dict[str, tf.Tensor]
    predictions: dict[str, tf.Tensor]


def final_scores(model: ScoringModel, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The scores of encoded rows, as they leave the model by every way: in Python, from files and from a server.

    Args:
      model: A trained model.
      features: `"ids"` int32 [B, num_slots] and `"numeric"` float32 [B, num_numeric].

    Returns:
      By output, in the order of `Schema.outputs`: probabilities [B] (binary) or [B, K] (multiclass), an amount [B] in
      its own unit, and its quantiles [B], each an output; where the schema declares a ranking, `score` [B].
    """
    return both_scores(model, features)[0]


def both_scores(
    model: ScoringModel, features: Mapping[str, tf.Tensor]
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """`final_scores`, and the predictions before calibration by target; the towers run once."""
    predicted = _predicted_rows(model, features)
    return _scores(model, predicted), predicted.uncalibrated


def target_scores(model: ScoringModel, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`final_scores` of the targets alone, which neither quantiles nor a ranking are computed for."""
    return _predicted_rows(model, features).predictions


def scores_of_outputs(
    model: ScoringModel, outputs: Sequence[Sequence[tf.Tensor]], ids: IdsOfField
) -> dict[str, tf.Tensor]:
    """As `final_scores`, from what the towers say.

    Args:
      model: A trained model.
      outputs: Per member, the towers' outputs in target order, [B] or [B, num_outputs].
      ids: Row numbers by field.
    """
    return _scores(model, _predicted(model, outputs, ids))


def _scores(model: ScoringModel, predicted: Predicted) -> dict[str, tf.Tensor]:
    quantiles = {
        name: distribution.quantiles(model.schema.amount(name).quantiles)
        for name, distribution in amount_distributions(model, *predicted).items()
    }
    scores = {}
    for target in model.schema.targets:
        scores[target.name] = predicted.predictions[target.name]
        if target.name in quantiles:
            names = model.schema.amount(target.name).quantile_names
            scores |= dict(zip(names, tf.unstack(quantiles[target.name], num=len(names), axis=1), strict=True))
    if model.schema.ranking is not None:
        scores[SCORE] = ranking_score(model.schema, model.schema.ranking, scores)
    return scores


def distributions(model: ScoringModel, features: Mapping[str, tf.Tensor]) -> dict[str, AmountDistribution]:
    """How the amounts with quantiles are distributed in encoded rows, by target; arguments as for `final_scores`."""
    return amount_distributions(model, *_predicted_rows(model, features))


def quantile_bounds(
    model: ScoringModel, features: Mapping[str, tf.Tensor], difference: float
) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """The quantiles at levels a little lower and a little higher, each float32 [B], by output.

    Where little lies about a quantile, what rounding makes of a probability moves it far: who compares quantiles asks
    whether they are between these.

    Args:
      model: A trained model.
      features: As for `final_scores`.
      difference: Of the levels.
    """
    found: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
    if not model.schema.with_quantiles:  # the towers need not run
        return found
    for name, distribution in distributions(model, features).items():
        target = model.schema.amount(name)
        levels = [[min(max(q + d, 1e-6), 1.0 - 1e-6) for q in target.quantiles] for d in (-difference, difference)]
        low, high = (tf.unstack(distribution.quantiles(of), num=len(of), axis=1) for of in levels)
        found |= dict(zip(target.quantile_names, zip(low, high, strict=True), strict=True))
    return found


def _predicted_rows(model: ScoringModel, features: Mapping[str, tf.Tensor]) -> Predicted:
    ids, encoder = features["ids"], model.encoder
    outputs = [member.tower_outputs(member.embedding(ids), features) for member in model.members]
    return _predicted(model, outputs, lambda field: ids[:, encoder.slots_of(field)])


def _predicted(model: ScoringModel, outputs: Sequence[Sequence[tf.Tensor]], ids: IdsOfField) -> Predicted:
    members = zip(model.members, outputs, strict=True)
    uncalibrated = dict(mean_scores([member.predictions_of(of_member) for member, of_member in members]))
    calibration = model.calibration
    return Predicted(outputs, uncalibrated, uncalibrated if calibration is None else calibration(uncalibrated, ids))
