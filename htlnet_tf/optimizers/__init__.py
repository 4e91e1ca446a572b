"""Adam for embeddings, averages of the weights that it makes, and schedules of its learning rate."""

from htlnet_tf.optimizers.lazy_adam import LazyAdam

__all__ = ["LazyAdam"]
