"""Gradient adjustments: functions from the Gram matrix of the per-task gradients to one coefficient per task.

An adjustment only ever forms linear combinations of the tasks' gradients G_1 .. G_T on the shared parameters, so the
result is sum_t c_t G_t with coefficients that depend on nothing but M[i, j] = <G_i, G_j>. An adjustment is any callable
`adjustment(gram)` with `gram` float32 [T, T] in target order, the core last, that returns float32 [T]: one of the
classes here, or your own function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Union

import tensorflow as tf
from typing_extensions import Self

GramFunction = Callable[[tf.Tensor], tf.Tensor]
_TINY = 1.2e-38  # the smallest normal float32

Number = Union[float, tf.keras.optimizers.schedules.LearningRateSchedule]


class Adjustment(tf.Module):
    """Base of the adjustments here: called with the Gram matrix, configured by plain arguments.

    One that keeps state (a schedule's step, moving averages) belongs to one model; give each model its own.

    Args:
      core: Name of the target that plays the core's part; None: the last one. A model puts that target last before it
        calls the adjustment, so `__call__` always sees the core last.
      name: Of the module.
    """

    #: Constructor arguments that `get_config` returns, beside `core`.
    arguments: tuple[str, ...] = ()

    def __init__(self, *, core: str | None = None, name: str) -> None:
        super().__init__(name=name)
        self.core = core

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T], the core last."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`; schedules in Keras' serialized form."""
        return {name: _serialize(getattr(self, name)) for name in (*self.arguments, "core")}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Builds the adjustment from its arguments."""
        return cls(**{name: _deserialize(value) for name, value in config.items()})


class GradientSum(Adjustment):
    """The plain sum of the tasks' gradients: every coefficient is 1.

    Args:
      core: Has no effect on the sum; names the target that cosines are measured against.
    """

    def __init__(self, *, core: str | None = None) -> None:
        super().__init__(core=core, name="gradient_sum")

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns ones, float32 [T]."""
        return tf.ones_like(gram[0])


class GradientAdjustment(Adjustment):
    """The adjustment of HTLNet: no target may pull against the core, nor drown it.

    With G_t the gradient of task t on the shared embedding rows and G_T the core's:

    1. Direction. For t < T with <G_t, G_T> < 0: G_t <- G_t - alpha * <G_t, G_T> / ||G_T||^2 * G_T.
    2. Magnitude. w_t = min(||G_T|| / ||G_t||, C), G_t <- gamma * w_t * G_t + (1 - gamma) * G_t, with ||G_t|| taken
       after step 1.

    In terms of the Gram matrix, with k_t = alpha * min(0, M[t, T]) / M[T, T]: ||G_t||^2 after step 1 is
    M[t, t] - 2 k_t M[t, T] + k_t^2 M[T, T], c_t = gamma * w_t + 1 - gamma, c_T = 1 - sum_t c_t k_t.

    Where the core has no gradient, as in a batch in which its label was not observed in any row, there is nothing to
    pull against, and w_t = 0: every other task keeps 1 - gamma of its gradient, with gamma = 1 nothing. A task without
    a gradient has the coefficient 1.

    Args:
      alpha: Share of the opposing component that is removed, in [0, 1]. 0 turns step 1 off.
      gamma: How far the norms are moved to the core's, in [0, 1]. 0 turns step 2 off.
      clip: C, a guard against explosion. Set low, it disables the balancing when the core's loss is 1000 times larger.

        Each of the three is a number or a `tf.keras.optimizers.schedules.LearningRateSchedule` over the calls so far.
      core: Name of the target that plays the core's part; None: the last one.

    Example:
      >>> adjustment = GradientAdjustment(alpha=1.0, gamma=0.0)
      >>> adjustment(tf.constant([[1.0, -1.0], [-1.0, 2.0]]))  # c_T = 1 + 1/2: the opposing half of G_T is given back
      <tf.Tensor: shape=(2,), dtype=float32, numpy=array([1. , 1.5], dtype=float32)>

    References:
      HTLNet (arXiv:2403.17442), section 3.5.
    """

    arguments = ("alpha", "gamma", "clip")

    def __init__(
        self, alpha: Number = 1.0, gamma: Number = 0.5, clip: Number = 100.0, *, core: str | None = None
    ) -> None:
        super().__init__(core=core, name="gradient_adjustment")
        for name, value, highest in (("alpha", alpha, 1.0), ("gamma", gamma, 1.0), ("clip", clip, None)):
            if isinstance(value, tf.keras.optimizers.schedules.LearningRateSchedule):
                continue
            if not value >= 0 or (highest is not None and value > highest):
                allowed = "must not be negative" if highest is None else f"must be in [0, {highest:g}]"
                raise ValueError(f"{name} {allowed}, received {value!r}")
        self.alpha, self.gamma, self.clip = alpha, gamma, clip
        self._scheduled = any(callable(value) for value in (alpha, gamma, clip))
        self._calls: tf.Variable | None = None

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]; finite whenever `gram` is."""
        if self._scheduled and self._calls is None:
            with tf.init_scope():
                self._calls = _local_variable(tf.constant(0, tf.int64))
        alpha, gamma, clip = self._now(self.alpha), self._now(self.gamma), self._now(self.clip)
        if self._calls is not None:
            self._calls.assign_add(1)
        norms, cosines = _norms_and_cosines(gram)
        opposing = tf.minimum(cosines[:-1, -1], 0.0)
        # With c the cosine where it is negative: k = alpha c ||G_t|| / ||G_T||, and ||G_t'||^2 = ||G_t||^2
        # (1 - alpha (2 - alpha) c^2), which neither overflows nor falls below zero by rounding.
        k = alpha * opposing * tf.math.divide_no_nan(norms[:-1], norms[-1])
        remaining = norms[:-1] * tf.sqrt(tf.maximum(1.0 - alpha * (2.0 - alpha) * opposing * opposing, 0.0))
        # Where rounding has left nothing of a gradient it is stretched by C, as any tiny remainder; a task without a
        # gradient is left alone.
        ratios = norms[-1] / tf.maximum(remaining, _TINY)
        weights = tf.where(norms[:-1] > 0.0, tf.minimum(ratios, clip), 1.0)
        preceding = gamma * weights + (1.0 - gamma)
        return tf.concat([preceding, [1.0 - tf.reduce_sum(preceding * k)]], axis=0)

    def _now(self, value: Number) -> tf.Tensor | float:
        return tf.cast(value(self._calls), tf.float32) if callable(value) else value


class PCGrad(Adjustment):
    """Gradient surgery: every task's gradient loses what opposes another task's, one after the other in random order.

    For each task i, starting from G_i and for each other task j: if <G_i', G_j> < 0, G_i' <- G_i' -
    <G_i', G_j> / ||G_j||^2 * G_j, with the original G_j. In terms of the Gram matrix: G_i' = sum_s A[i, s] G_s, so
    <G_i', G_j> = sum_s A[i, s] M[s, j], and the coefficients are the column sums of A.

    A task without a gradient, as in a batch in which its label was not observed in any row, opposes none and has the
    coefficient 1.

    Args:
      shuffle: Visit the other tasks in a new random order per task and call, as the paper does; False: in target order.
      core: Has no effect, the method treats all tasks alike; names the target that cosines are measured against.

    References:
      Yu, Kumar, Gupta, Levine, Hausman, Finn: "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1.
    """

    arguments = ("shuffle",)

    def __init__(self, *, shuffle: bool = True, core: str | None = None) -> None:
        super().__init__(core=core, name="pcgrad")
        self.shuffle = shuffle

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]."""
        tasks = _num_tasks(gram)
        in_order = tf.tile([tf.range(tasks, dtype=tf.float32)], [tasks, 1])
        keys = tf.random.uniform([tasks, tasks]) if self.shuffle else in_order
        # A task's own place comes last, so that the first T - 1 are the others in their order.
        order = tf.argsort(keys + tf.eye(tasks) * (tasks + 1.0), axis=1)
        # In units of each task's norm everything is of order 1: rows of `combination` are G_i' / ||G_i|| in terms of
        # the unit vectors G_s / ||G_s||.
        norms, cosines = _norms_and_cosines(gram)
        combination = tf.eye(tasks)
        for step in range(tasks - 1):
            other = order[:, step]
            products = tf.reduce_sum(combination * tf.gather(cosines, other), axis=1)
            combination -= tf.minimum(products, 0.0)[:, tf.newaxis] * tf.one_hot(other, tasks)
        total = tf.reduce_sum(norms[:, tf.newaxis] * combination, axis=0)
        return tf.where(norms > 0.0, tf.math.divide_no_nan(total, norms), 1.0)


class MetaBalance(Adjustment):
    """Moves the magnitude of every auxiliary gradient towards the target's, by moving averages of their norms.

    With m_i the moving average of ||G_i||, m_i <- beta * m_i + (1 - beta) * ||G_i||, from m_i = 0, and the core as the
    target task: G_i <- r * G_i * m_T / m_i + (1 - r) * G_i. So c_i = r * m_T / m_i + 1 - r and c_T = 1.

    A batch in which a task has no gradient, because its label was not observed in any row, counts as one of norm 0 in
    the task's average. Before the core's first gradient m_T is 0, and the other tasks keep 1 - r of theirs (all of it
    with `"enlarge"`).

    Args:
      relax: r, in [0, 1]; 0 is the plain sum, 1 gives every gradient the target's magnitude.
      beta: Decay of the moving averages, in [0, 1); 0 uses the current norms.
      strategy: `"reduce"` only shrinks larger gradients (the paper's A), `"enlarge"` only stretches smaller ones (B),
        `"both"` (C).
      core: Name of the target task; None: the last one.

    References:
      He, Feng, Cheng, Ji, Guo, Caverlee: "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient
      Magnitudes of Auxiliary Tasks", WWW 2022, algorithm 1 and section 3.3; there per parameter, here on all shared
      rows.
    """

    arguments = ("relax", "beta", "strategy")

    def __init__(
        self,
        relax: float = 0.7,
        beta: float = 0.9,
        strategy: Literal["reduce", "enlarge", "both"] = "both",
        *,
        core: str | None = None,
    ) -> None:
        super().__init__(core=core, name="metabalance")
        if not 0 <= relax <= 1:
            raise ValueError(f"relax must be in [0, 1], received {relax!r}")
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be in [0, 1), received {beta!r}")
        if strategy not in ("reduce", "enlarge", "both"):
            raise ValueError(f"strategy must be 'reduce', 'enlarge' or 'both', received {strategy!r}")
        self.relax, self.beta, self.strategy = relax, beta, strategy
        self._averages: tf.Variable | None = None

    def __call__(self, gram: tf.Tensor) -> tf.Tensor:
        """Returns the coefficients, float32 [T], for a Gram matrix, float32 [T, T]; moves the averages."""
        if self._averages is None:
            with tf.init_scope():
                self._averages = _local_variable(tf.zeros([_num_tasks(gram)]))
        norms, _ = _norms_and_cosines(gram)
        averages = self.beta * self._averages + (1.0 - self.beta) * norms
        self._averages.assign(averages)
        ratios = tf.math.divide_no_nan(averages[-1], averages)
        applies = {
            "reduce": ratios < 1.0,
            "enlarge": ratios > 1.0,
            "both": tf.ones_like(ratios, tf.bool),
        }[self.strategy]
        coefficients = tf.where(applies, self.relax * ratios + 1.0 - self.relax, 1.0)
        return tf.concat([coefficients[:-1], [1.0]], axis=0)


def _norms_and_cosines(gram: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """||G_t||, [T], and cos(G_i, G_j), [T, T]; 0 where a gradient is 0."""
    norms = tf.sqrt(tf.maximum(tf.linalg.diag_part(gram), 0.0))
    # One division at a time: the product of two small norms may underflow.
    cosines = tf.math.divide_no_nan(tf.math.divide_no_nan(gram, norms[:, tf.newaxis]), norms)
    return norms, tf.clip_by_value(cosines, -1.0, 1.0)


def _num_tasks(gram: tf.Tensor) -> int:
    tasks = gram.shape[0]
    if tasks is None:
        raise ValueError(f"the Gram matrix must have a static shape [T, T], received {gram.shape}")
    return int(tasks)


def _local_variable(value: tf.Tensor) -> tf.Variable:
    # Each replica keeps its own under tf.distribute: an adjustment sees the gradients of its replica's rows.
    return tf.Variable(
        value,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )


def _serialize(value: Number) -> Any:
    return tf.keras.optimizers.schedules.serialize(value) if callable(value) else value


def _deserialize(value: Any) -> Any:
    return tf.keras.optimizers.schedules.deserialize(value) if isinstance(value, dict) else value
