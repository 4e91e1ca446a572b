"""The keyword arguments that the models share."""

from __future__ import annotations

from typing_extensions import TypedDict

from htlnet_tf.gradients import GramFunction
from htlnet_tf.layers.uncertainty_weights import LossWeighting
from htlnet_tf.models.nonfinite import Policy


class ModelOptions(TypedDict, total=False):
    """The keyword arguments that the models share.

    Attributes:
      embedding_dim: Width d of the embedding rows of features that declare none of their own; 10.
      core: Name of the target that plays the core's part in the gradient adjustment, and that cosines are measured
        against; None: the last one.
      gradient_adjustment: Gram matrix -> coefficients, see `htlnet_tf.gradients`; None: the plain sum.
      loss_weighting: Losses -> weighted losses, see `LossWeighting`, e.g. `UncertaintyWeights`; None: as they are. The
        weighted losses are what is trained and what the gradient adjustment and metrics see; the losses that `fit`
        shows are not weighted.
      embedding_l2: Strength l of l * ||row||^2, added for each embedding row that a batch touches (under a strategy, by
        each replica with 1 / replicas of it); 1e-5.
      gradient_metrics: Show norm, cosine and coefficient of every task in `fit`. False, the default, with the plain sum
        takes the ordinary backward pass; otherwise there is one per task (one in all if the towers are independent).
      on_nonfinite: What to do about a step whose losses or gradients are not finite: `"raise"`, the default, stops
        `fit` with a `NonFiniteError` before the step is applied; `"skip"` leaves it out and counts it as
        `skipped_steps`.
      dropout: Share of each hidden activation of the towers that is dropped in training, in [0, 1); 0.
      cross_layers: Cross layers between the embedding and the towers, x <- x_0 * (U V x + b) + x with x_0 the shared
        input; 0. They are trained by the sum of the losses, see `MultiTaskModel.shared_input`.
      cross_rank: Rank r of U, [W, r], and V, [r, W]; 64.

    References:
      Wang et al.: "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems",
      WWW 2021, arXiv:2008.13535, equation 2: the cross layers.
    """

    embedding_dim: int
    core: str | None
    gradient_adjustment: GramFunction | None
    loss_weighting: LossWeighting | None
    embedding_l2: float
    gradient_metrics: bool
    on_nonfinite: Policy
    dropout: float
    cross_layers: int
    cross_rank: int
