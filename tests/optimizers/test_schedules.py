"""Learning rates over a training, by hand and by the formulas in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.optimizers.schedules import LinearWarmup, is_scheduled, learning_rate_schedule

STEPS = 11


def rates(schedule: Any) -> list[float]:
    return [float(schedule(tf.constant(step, tf.int64))) for step in range(STEPS)]


@pytest.mark.parametrize(
    ("form", "end", "share"),
    [
        ("constant", 0.0, lambda x: 1.0),
        ("linear", 0.0, lambda x: 1.0 - x),
        ("linear", 0.2, lambda x: 1.0 - 0.8 * x),
        ("cosine", 0.0, lambda x: 0.5 * (1.0 + math.cos(math.pi * x))),
        ("cosine", 0.1, lambda x: 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * x))),
        ("exponential", 0.01, lambda x: 0.01**x),
    ],
)
def test_the_last_step_has_the_end(form: Any, end: float, share: Any) -> None:
    schedule = learning_rate_schedule(0.2, STEPS, form, end=end)
    expected = [0.2 * share(step / (STEPS - 1)) for step in range(STEPS)]
    np.testing.assert_allclose(rates(schedule), expected, rtol=1e-5, atol=1e-7)


def test_a_warmup_rises_to_the_rate_and_then_falls() -> None:
    schedule = learning_rate_schedule(0.4, STEPS, "linear", warmup=0.3)
    # By hand: 0.3 of 11 steps are 3; then the fall over the 8 others, the last of which has 0.
    expected = [0.1, 0.2, 0.3, *(0.4 * (7 - i) / 7 for i in range(8))]
    np.testing.assert_allclose(rates(schedule), expected, rtol=1e-5, atol=1e-7)
    again = tf.keras.optimizers.schedules.deserialize(tf.keras.optimizers.schedules.serialize(schedule))
    np.testing.assert_allclose(rates(again), expected, rtol=1e-5, atol=1e-7)
    assert isinstance(again, LinearWarmup)


def test_the_optimizer_follows_it() -> None:
    optimizer = htl.LazyAdam(learning_rate_schedule(0.4, STEPS, "linear", warmup=0.3))
    assert is_scheduled(optimizer) and not is_scheduled(htl.LazyAdam(0.1))
    restored = htl.LazyAdam.from_config(optimizer.get_config())
    # Under a constant gradient Adam's step is the rate, as it is at first under any.
    for made in (optimizer, restored):
        variable = tf.Variable([0.0])
        made.apply_gradients([(tf.constant([1.0]), variable)])
        assert float(variable[0]) == pytest.approx(-0.1, rel=1e-5)
        made.apply_gradients([(tf.constant([1.0]), variable)])
        assert float(variable[0]) == pytest.approx(-0.3, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "stairs"}, r"there are \['constant', 'linear', 'cosine', 'exponential'\], received 'stairs'"),
        ({"form": "exponential"}, "never falls to 0; give the end"),
        ({"form": "linear", "warmup": 1.0}, r"warmup must be in \[0, 1\)"),
        ({"form": "linear", "end": -0.1}, r"end in \[0, 1\]"),
        ({"form": "linear", "steps": 0}, "the steps at least 1"),
    ],
)
def test_what_is_no_schedule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(htl.InputError, match=message):
        learning_rate_schedule(**({"rate": 0.1, "steps": STEPS} | arguments))
    with pytest.raises(ValueError, match="warmup_steps must not be negative"):
        LinearWarmup(None, -1)
