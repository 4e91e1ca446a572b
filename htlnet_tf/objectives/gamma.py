"""The gamma distribution in a graph, where TensorFlow has its distribution function but not the inverse."""

from __future__ import annotations

from htlnet_tf.objectives.lazy_tensorflow import tf

_STEPS = 5
_SMALLEST = 1e-30


def gamma_quantile(shape: tf.Tensor, tails: tf.Tensor) -> tf.Tensor:
    """The amount x that a gamma variable of this shape and the scale 1 exceeds with a given probability.

    Wilson and Hilferty's cube for a shape above 1, else the two pieces of Numerical Recipes, then Halley's steps on the
    distribution function: with both tails at hand, whichever is the smaller keeps its digits.

    Args:
      shape: k in 0.05 .. 1000, a float32 scalar.
      tails: P(x > quantile), float32 of any shape, within 1e-7 .. 1 - 1e-7.

    Returns:
      float32, as `tails`.

    References:
      Wilson, Hilferty: "The Distribution of Chi-Square", PNAS 17, 1931. Press, Teukolsky, Vetterling, Flannery:
      "Numerical Recipes", third edition, section 6.2.1 (invgammp).
    """
    k = tf.ones_like(tails) * shape
    below = 1.0 - tails
    gamma_log = tf.math.lgamma(k)
    cube = k * tf.pow(tf.maximum(1.0 - 1.0 / (9.0 * k) - tf.math.ndtri(tails) / (3.0 * tf.sqrt(k)), 1e-3), 3.0)
    edge = 1.0 - k * (0.253 + 0.12 * k)
    near_zero = tf.exp(tf.math.log(tf.maximum(below / tf.maximum(edge, 1e-3), _SMALLEST)) / k)
    far = 1.0 - tf.math.log(tf.clip_by_value(tails / tf.maximum(1.0 - edge, 1e-3), _SMALLEST, 1.0))
    x = tf.maximum(tf.where(k > 1.0, cube, tf.where(below < edge, near_zero, far)), _SMALLEST)
    for _ in range(_STEPS):
        error = tf.where(tails < 0.5, tails - tf.math.igammac(k, x), tf.math.igamma(k, x) - below)
        density = tf.exp(tf.clip_by_value((k - 1.0) * tf.math.log(x) - x - gamma_log, -60.0, 60.0))
        newton = error / density
        bend = tf.minimum(newton * ((k - 1.0) / x - 1.0), 1.0)
        moved = x - newton / (1.0 - 0.5 * bend)
        # Never below half of what it was: the quantile is above 0. Nor far beyond, from where the density is flat.
        x = tf.clip_by_value(moved, 0.5 * x, 2.0 * x + 1.0)
    return x
