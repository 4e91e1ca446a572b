"""AdaTT's fusion of experts: a gate over the experts of all tasks, and a residual of the task's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.gates import Gate


class TaskFusion(tf.keras.layers.Layer):
    """One level of AdaTT-sp.

    Task t has m experts E_t, which read x_t. With E = [E_1 .. E_T], y_t = g_t(x_t) E + v_t E_t: the gate g_t over the
    experts of all tasks, and the residual of its native experts, with weights v_t, float32 [m], that depend on no row.
    A single native expert is added as it is, v_t = 1.

    Args:
      num_tasks: T.
      num_experts: m.
      units: Widths of an expert's layers.

    References:
      Li, Zhang, Zhang et al.: "AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in Recommendations",
      KDD 2023, section 3.1.1 (AllExpertGF and NativeExpertLF); the start of v_t is the authors' code's, uniform in
      +-sqrt(1 / m).
    """

    def __init__(self, num_tasks: int, num_experts: int, units: Sequence[int], *, name: str) -> None:
        super().__init__(name=name)
        self.num_tasks, self.num_experts = num_tasks, num_experts
        self.experts = [Experts(num_experts, units, name=f"experts_{t}") for t in range(num_tasks)]
        self.gates = [Gate(num_tasks * num_experts, name=f"gate_{t}") for t in range(num_tasks)]

    def build(self, input_shape: Any) -> None:
        """Creates v, float32 [T, m], if a task has several experts."""
        if self.num_experts > 1:
            bound = self.num_experts**-0.5
            start = tf.keras.initializers.RandomUniform(-bound, bound)
            shape = [self.num_tasks, self.num_experts]
            self.native = self.add_weight(name="native", shape=shape, initializer=start)
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Runs the level: x_1 .. x_T, each float32 [B, in] -> y_1 .. y_T, each [B, u]."""
        own = [experts(x) for experts, x in zip(self.experts, inputs, strict=True)]
        everyone = tf.concat(own, axis=1)
        return [
            gate(x, everyone) + self._residual(t, own[t])
            for t, (gate, x) in enumerate(zip(self.gates, inputs, strict=True))
        ]

    def _residual(self, task: int, experts: tf.Tensor) -> tf.Tensor:
        return tf.einsum("m,bmu->bu", self.native[task], experts) if self.num_experts > 1 else experts[:, 0]
