"""What a user would take instead of a model of this package: boosted trees, linear models, the mean, zero."""

from __future__ import annotations

from htlnet_tf.judging.references.boosted_trees import BoostedTrees
from htlnet_tf.judging.references.linear_models import LinearModels
from htlnet_tf.judging.references.reference import FittedReference, Reference, relative_loss, with_level

REFERENCES: dict[str, Reference] = {
    "glm": LinearModels(),
    "lightgbm": BoostedTrees(),
    "lightgbm@tweedie": BoostedTrees("tweedie"),
    "lightgbm@poisson": BoostedTrees("poisson"),
    "lightgbm@two_part": BoostedTrees("two_part"),
}
"""References that are fitted, by name; the mean and zero are in `htlnet_tf.judging.references.constants`."""

__all__ = ["REFERENCES", "BoostedTrees", "FittedReference", "LinearModels", "Reference", "relative_loss", "with_level"]
