"""Gradient adjustments: functions from the Gram matrix of the per-task gradients to one coefficient per task.

An adjustment only ever forms linear combinations of the tasks' gradients G_1 .. G_T on the shared parameters, so the
result is sum_t c_t G_t with coefficients that depend on nothing but M[i, j] = <G_i, G_j>. An adjustment is any callable
`adjustment(gram)` with `gram` float32 [T, T] in target order, the core last, that returns float32 [T]: one of the
classes here, or your own function.

The plain sum, c_t = 1, sets the scale. Where a paper takes a mean or a convex combination of n gradients (`MGDA`,
`CAGrad`, `IMTLG`) the coefficients here are n times the paper's; so orthogonal gradients of norm 1 are simply summed by
every method (`CAGrad`: summed times 1 + c), and a learning rate or an L2 strength means the same for all of them.
`NashMTL` alone is not proportional to the gradients: its result has the norm sqrt(n).

A task without a gradient, as in a batch in which its label was not observed in any row, has the coefficient 1. In the
methods that treat all tasks alike it has no say in the others', and n above counts the tasks with a gradient;
`GradientAdjustment` and `MetaBalance` say what they do without the core's.
"""

from __future__ import annotations

from htlnet_tf.gradients.adjustment import Adjustment, GramFunction, Number
from htlnet_tf.gradients.aligned_mtl import AlignedMTL
from htlnet_tf.gradients.cagrad import CAGrad
from htlnet_tf.gradients.gradient_adjustment import GradientAdjustment
from htlnet_tf.gradients.gradient_sum import GradientSum
from htlnet_tf.gradients.imtl_g import IMTLG
from htlnet_tf.gradients.metabalance import MetaBalance
from htlnet_tf.gradients.mgda import MGDA
from htlnet_tf.gradients.nash_mtl import NashMTL
from htlnet_tf.gradients.pcgrad import PCGrad

__all__ = [
    "ADJUSTMENTS",
    "IMTLG",
    "MGDA",
    "Adjustment",
    "AlignedMTL",
    "CAGrad",
    "GradientAdjustment",
    "GradientSum",
    "GramFunction",
    "MetaBalance",
    "NashMTL",
    "Number",
    "PCGrad",
]

ADJUSTMENTS: dict[str, type[Adjustment]] = {
    "aligned_mtl": AlignedMTL,
    "cagrad": CAGrad,
    "htlnet": GradientAdjustment,
    "imtl_g": IMTLG,
    "metabalance": MetaBalance,
    "mgda": MGDA,
    "nash_mtl": NashMTL,
    "pcgrad": PCGrad,
    "sum": GradientSum,
}
"""By the name that configurations and the command line use."""
