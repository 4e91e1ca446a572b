"""Cross layers between the embedding and the towers."""

from __future__ import annotations

import tensorflow_recommenders as tfrs


def cross_network(num_layers: int, rank: int) -> tfrs.layers.feature_interaction.MultiLayerDCN | None:
    """Low-rank cross layers of tensorflow-recommenders, x <- x_0 * (U V x + b) + x; None without a layer.

    Args:
      num_layers: How many, at least 0.
      rank: Of U V, at least 1.

    Raises:
      ValueError: One of them is too small.

    References:
      Wang et al.: "DCN V2: Improved Deep & Cross Network and Practical Lessons for Web-scale Learning to Rank Systems",
      WWW 2021, arXiv:2008.13535, equation 2.
    """
    if num_layers < 0 or rank < 1:
        raise ValueError(f"cross_layers must not be negative and cross_rank at least 1, received {num_layers}, {rank}")
    if not num_layers:
        return None
    return tfrs.layers.feature_interaction.MultiLayerDCN(projection_dim=rank, num_layers=num_layers, name="cross")
