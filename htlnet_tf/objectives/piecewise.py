"""Distributions whose exceedance is given at some amounts, linear between them, and constant beyond."""

from __future__ import annotations

from htlnet_tf.objectives.lazy_tensorflow import tf


def exceedance_at(amounts: tf.Tensor, shares: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    """P(z > t): 1 below the first amount, 0 from the last one on, linear between two neighbours.

    Where amounts are equal the distribution has a point mass, which is not above itself.

    Args:
      amounts: x_1 .. x_J, not decreasing, float32 [B, J].
      shares: P(z > x_j), not increasing, float32 [B, J].
      t: float32 [B, K].

    Returns:
      float32 [B, K].
    """
    last = int(amounts.shape[1]) - 1
    above = tf.searchsorted(amounts, t, side="right")  # of the amounts, the number that are at most t
    j = tf.clip_by_value(above, 1, last)
    low, high = tf.gather(amounts, j - 1, batch_dims=1), tf.gather(amounts, j, batch_dims=1)
    share, next_share = tf.gather(shares, j - 1, batch_dims=1), tf.gather(shares, j, batch_dims=1)
    part = tf.clip_by_value(tf.math.divide_no_nan(t - low, high - low), 0.0, 1.0)
    inside = share - part * (share - next_share)
    return tf.where(above == 0, 1.0, tf.where(above > last, 0.0, inside))


def quantile_at(amounts: tf.Tensor, shares: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
    """The smallest amount that is exceeded with a probability of `tails` at most; the arguments as of `exceedance_at`.

    Args:
      amounts: float32 [B, J].
      shares: float32 [B, J].
      tails: 1 - q, float32 [B, K].

    Returns:
      float32 [B, K], between the first and the last amount.
    """
    last = int(amounts.shape[1]) - 1
    more = tf.searchsorted(-shares, -tails, side="left")  # the number of amounts that are exceeded more often
    j = tf.clip_by_value(more, 1, last)
    low, high = tf.gather(amounts, j - 1, batch_dims=1), tf.gather(amounts, j, batch_dims=1)
    share, next_share = tf.gather(shares, j - 1, batch_dims=1), tf.gather(shares, j, batch_dims=1)
    part = tf.clip_by_value(tf.math.divide_no_nan(share - tails, share - next_share), 0.0, 1.0)
    # Weighted, so that amounts of opposite signs and any size stay finite and between their neighbours.
    inside = tf.clip_by_value(low * (1.0 - part) + high * part, low, high)
    return tf.where(more == 0, amounts[:, :1], tf.where(more > last, amounts[:, last:], inside))


def running_minimum(values: tf.Tensor) -> tf.Tensor:
    """The least of a row's values up to each place, float32 [B, M] -> [B, M], by doubling the reach of every step."""
    reach, width = 1, int(values.shape[1])
    while reach < width:
        values = tf.concat([values[:, :reach], tf.minimum(values[:, reach:], values[:, :-reach])], axis=1)
        reach *= 2
    return values
