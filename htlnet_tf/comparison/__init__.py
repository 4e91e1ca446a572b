"""The paper's experiments: models, ablations and optimisation methods on the same rows with the same budget."""

from __future__ import annotations

from htlnet_tf.comparison.conditions import across_conditions
from htlnet_tf.comparison.protocol import Comparison, compare
from htlnet_tf.comparison.variants import ABLATIONS, METHODS, Plan, Table, plan

__all__ = ["ABLATIONS", "METHODS", "Comparison", "Plan", "Table", "across_conditions", "compare", "plan"]
