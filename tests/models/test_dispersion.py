"""The dispersion of a gamma hurdle's amounts, taken from the training rows behind the training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl


def test_the_dispersion_is_that_of_the_training_rows(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path: Path
) -> None:
    core = dataclasses.replace(schema.core, objective="gamma_hurdle", quantiles=(0.5,))
    declared = schema.with_targets((*schema.targets[:-1], core))
    tf.keras.utils.set_random_seed(0)
    model = htl.SharedBottom(declared, encoder, tower_units=(8,))
    model.compile(optimizer=htl.LazyAdam(1e-2))
    head = model.heads["spend"]
    assert float(head.dispersion.value) == 1.0
    factors = model.fit_level(htl.data.make_dataset(frame, declared, encoder, batch_size=64))
    assert list(factors) == ["spend"]
    # The same in one batch; that the estimate is the maximum likelihood's is tested with the objective.
    features = {key: tf.constant(values) for key, values in encoder.encode(frame).items()}
    outputs = model.tower_outputs(model.embedding(features["ids"]), features)[-1]
    z = tf.constant(frame["spend"].to_numpy() / head.objective.units.scale, tf.float32)
    sums = np.asarray(head.objective.dispersion_terms(z, outputs), np.float64).sum(axis=0)
    expected = head.objective.dispersion(list(sums), factors["spend"])
    assert float(head.dispersion.value) == pytest.approx(expected, rel=1e-4) and expected != 1.0
    model.save_weights(tmp_path / "weights")
    restored = htl.SharedBottom(declared, encoder, tower_units=(8,))
    restored.load_weights(tmp_path / "weights")
    assert float(restored.heads["spend"].dispersion.value) == float(head.dispersion.value)


@pytest.mark.parametrize(("objective", "quantiles"), [("gamma_hurdle", ()), ("ziln", (0.5,))])
def test_other_targets_keep_none(objective: str, quantiles: tuple[float, ...], schema: Any, encoder: Any) -> None:
    core = dataclasses.replace(schema.core, objective=objective, quantiles=quantiles)
    model = htl.SharedBottom(schema.with_targets((*schema.targets[:-1], core)), encoder, tower_units=(8,))
    assert model.heads["spend"].dispersion is None
