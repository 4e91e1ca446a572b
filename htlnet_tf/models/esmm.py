"""ESMM: each target's probability as a product along the funnel."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf
from typing_extensions import Unpack

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.options import ModelOptions
from htlnet_tf.objectives.functions import logit_of_both
from htlnet_tf.schema import Binary, Multiclass, Schema


class ESMM(MultiTaskModel):
    """The Entire Space Multi-task Model baseline, for funnels of any length and with an amount at the end.

    Tower t of a binary target predicts the conditional probability q_t = sigmoid(o_t) that step t happens given that
    the step before it did. What the model predicts and trains on, in the entire space of rows, is the product
    p_t = q_1 .. q_t: with click and conversion, pCTR = q_1 and pCTCVR = pCTR * pCVR, where pCVR = q_2 has no loss of
    its own. The losses are the cross entropies of the p_t.

    The core target, which the paper does not have, continues the product: its tower predicts the conditional amount m
    given that the last step happened, the prediction is y = p_{T-1} * m, its loss that of its objective at y. Its
    gradient reaches the towers of the steps too, as that of pCTCVR reaches the tower of pCTR.

    This assumes that a step happens only after the step before it, and that the amount is 0 where the last one did not
    happen. Where that is not so (watch time without a click) the form is a restriction that the data do not obey.

    A target with `observed_if` is predicted given that step, so its product begins after it. A multiclass target is no
    step: it has a tower of its own, and no product contains it.

    The paper's widths are 360, 200, 80 with d = 18; here they are those of the package's other models.

    Args:
      schema: The declared columns.
      encoder: Fitted on the training rows.
      tower_units: Widths of each tower's hidden layers.
      name: Of the model.
      **options: `embedding_dim`, `gradient_adjustment`, `dropout`, `cross_layers` and all others of
        `htlnet_tf.models.ModelOptions`.

    Raises:
      InputError: The encoder was fitted for another schema.

    References:
      Ma, Zhao, Huang, Wang, Hu, Zhu, Gai: "Entire Space Multi-Task Model: An Effective Approach for Estimating
      Post-Click Conversion Rate", SIGIR 2018, equations 1 and 3.
    """

    reads_blocks = True

    def __init__(
        self,
        schema: Schema,
        encoder: FeatureEncoder,
        *,
        tower_units: Sequence[int] = (128, 64, 32),
        name: str = "esmm",
        **options: Unpack[ModelOptions],
    ) -> None:
        super().__init__(schema, encoder, name=name, **options)
        for amount in self.schema.amounts:
            objective = self.heads[amount.name].objective
            if not objective.can_be_given:
                raise InputError(
                    f"target '{amount.name}': ESMM multiplies an amount by the probability of the step before it, "
                    f"which the objective '{objective.name}' has no form for"
                )
        self.towers = self.create_towers(tower_units)
        self.create_weights()

    def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """The logits of p_t, and the core on the trained scale; see `MultiTaskModel.task_outputs`."""
        steps: dict[str, tf.Tensor] = {}
        outputs: list[tf.Tensor] = []
        for target, view, tower in zip(self.schema.targets, views, self.towers, strict=True):
            output = tower(view, training)[1]
            if isinstance(target, Multiclass):
                outputs.append(output)
                continue
            names = list(steps)
            chain = [steps[name] for name in names[names.index(target.observed_if) + 1 if target.observed_if else 0 :]]
            if isinstance(target, Binary):
                steps[target.name] = output
                outputs.append(functools.reduce(logit_of_both, [*chain, output]))
            else:
                objective = self.heads[target.name].objective
                outputs.append(objective.given(functools.reduce(logit_of_both, chain), output) if chain else output)
        return outputs
