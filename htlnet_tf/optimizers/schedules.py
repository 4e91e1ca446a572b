"""Learning rates over a training of known length, made of Keras' own schedules."""

from __future__ import annotations

from typing import Any, Literal, get_args

import tensorflow as tf

from htlnet_tf.errors import InputError

Form = Literal["constant", "linear", "cosine", "exponential"]


@tf.keras.utils.register_keras_serializable("htlnet_tf")
class LinearWarmup(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises to its start in equal steps, and then follows another schedule.

    The rate of step t = 0, 1, .. is (t + 1) / (w + 1) of the first one for t < w, and that of the schedule's step t - w
    from then on.

    Args:
      schedule: What follows.
      warmup_steps: w, at least 0.

    References:
      Goyal et al.: "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", arXiv:1706.02677, section 2.2.
    """

    def __init__(self, schedule: Any, warmup_steps: int) -> None:
        super().__init__()
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, received {warmup_steps}")
        self.schedule, self.warmup_steps = schedule, warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate of a step, float32 []."""
        step = tf.cast(step, tf.float32)
        rising = self.schedule(0.0) * (step + 1.0) / (self.warmup_steps + 1.0)
        following = self.schedule(tf.maximum(step - self.warmup_steps, 0.0))
        return tf.where(step < self.warmup_steps, rising, following)

    def get_config(self) -> dict[str, Any]:
        """The arguments, the schedule in Keras' serialized form."""
        return {"schedule": tf.keras.optimizers.schedules.serialize(self.schedule), "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LinearWarmup:
        """Builds it from its arguments."""
        return cls(tf.keras.optimizers.schedules.deserialize(config["schedule"]), config["warmup_steps"])


def is_scheduled(optimizer: Any) -> bool:
    """Whether an optimizer's learning rate moves by a schedule."""
    return isinstance(optimizer.get_config().get("learning_rate"), dict)  # which is a schedule in serialized form


def learning_rate_schedule(rate: float, steps: int, form: Form, *, warmup: float = 0.0, end: float = 0.0) -> Any:
    """A schedule over all steps of a training.

    Args:
      rate: The highest learning rate, which the fall begins with.
      steps: Of the training.
      form: How the rate falls: `"constant"` not at all, `"linear"`, `"cosine"` as half a wave, `"exponential"` by the
        same factor in each step.
      warmup: Share of the steps in which the rate rises before, in [0, 1).
      end: What the rate is at the end, as a share of `rate`, in [0, 1]; more than 0 for `"exponential"`.

    Returns:
      A `LearningRateSchedule` of Keras.

    Raises:
      InputError: The form is not known, or a number is out of its range.
    """
    if form not in get_args(Form):
        raise InputError(f"schedule: there are {list(get_args(Form))}, received {form!r}")
    if not 0.0 <= warmup < 1.0 or not 0.0 <= end <= 1.0 or steps < 1:
        received = f"received {warmup}, {end} and {steps}"
        raise InputError(f"schedule: warmup must be in [0, 1), end in [0, 1] and the steps at least 1, {received}")
    if form == "exponential" and end == 0.0:
        raise InputError("schedule: an exponential one never falls to 0; give the end, such as 0.01")
    rising = round(steps * warmup)
    falling = max(steps - rising - 1, 1)  # so that the last step has the end's rate
    keras = tf.keras.optimizers.schedules
    made = {
        "constant": lambda: keras.PolynomialDecay(rate, falling, rate),
        "linear": lambda: keras.PolynomialDecay(rate, falling, rate * end),
        "cosine": lambda: keras.CosineDecay(rate, falling, alpha=end),
        "exponential": lambda: keras.ExponentialDecay(rate, falling, end),
    }[form]()
    return LinearWarmup(made, rising) if rising else made
