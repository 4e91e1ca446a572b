"""Customized Gate Control (CGC): experts of each task beside shared ones."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from htlnet_tf.layers.experts import Experts
from htlnet_tf.layers.gates import Gate


class CustomizedGateControl(tf.keras.layers.Layer):
    """One level of PLE.

    Task t has experts E_t, which read x_t; the shared experts E_s read x_s. Task t's gate mixes its own experts and the
    shared ones, y_t = g_t(x_t) [E_t, E_s], and never another task's. The shared gate, which every level but the last
    has, mixes all of them: y_s = g_s(x_s) [E_1 .. E_T, E_s].

    Args:
      num_tasks: T.
      task_experts: Experts per task.
      shared_experts: Shared experts.
      units: Widths of an expert's layers.
      shared_gate: Whether there is a y_s for a level above.

    References:
      Tang, Liu, Zhao, Gong: "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for
      Personalized Recommendations", RecSys 2020, equations 2 to 6.
    """

    def __init__(
        self,
        num_tasks: int,
        task_experts: int,
        shared_experts: int,
        units: Sequence[int],
        *,
        shared_gate: bool,
        name: str,
    ) -> None:
        super().__init__(name=name)
        self.task_experts = [Experts(task_experts, units, name=f"experts_{t}") for t in range(num_tasks)]
        self.shared_experts = Experts(shared_experts, units, name="shared_experts")
        self.gates = [Gate(task_experts + shared_experts, name=f"gate_{t}") for t in range(num_tasks)]
        total = num_tasks * task_experts + shared_experts
        self.shared_gate = Gate(total, name="shared_gate") if shared_gate else None

    def call(self, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Runs the level.

        Args:
          inputs: x_1 .. x_T, x_s, each float32 [B, in].

        Returns:
          y_1 .. y_T, and y_s if there is a shared gate, each float32 [B, u].
        """
        *task_inputs, shared_input = inputs
        own = [experts(x) for experts, x in zip(self.task_experts, task_inputs, strict=True)]
        shared = self.shared_experts(shared_input)
        outputs = [
            gate(x, tf.concat([experts, shared], axis=1))
            for gate, x, experts in zip(self.gates, task_inputs, own, strict=True)
        ]
        if self.shared_gate is not None:
            outputs.append(self.shared_gate(shared_input, tf.concat([*own, shared], axis=1)))
        return outputs
