"""Pictures of runs and models: learning curves, gradients, comparisons, calibration, attention, regret, rankings.

Every function draws on its own `matplotlib.figure.Figure` with the Agg canvas, so that no display is needed and no
pyplot state is left behind, and writes one PNG atomically: a reader never sees half a file.
"""

from htlnet_tf.plots.attention import plot_attention
from htlnet_tf.plots.calibration import plot_calibration
from htlnet_tf.plots.gradients import plot_gradients
from htlnet_tf.plots.learning_curves import plot_learning_curves
from htlnet_tf.plots.models import plot_comparison
from htlnet_tf.plots.ranking_search import plot_ranking_search
from htlnet_tf.plots.regret import plot_regret

__all__ = [
    "plot_attention",
    "plot_calibration",
    "plot_comparison",
    "plot_gradients",
    "plot_learning_curves",
    "plot_ranking_search",
    "plot_regret",
]
