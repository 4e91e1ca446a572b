"""Where labels lie in their distributions, and the CRPS, against float64 NumPy and scipy.stats."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import integrate, stats

import htlnet_tf as htl
from htlnet_tf.scoring.label_levels import label_levels


def test_levels_and_crps_of_a_known_distribution(schema: htl.Schema, encoder: Any, frame: pd.DataFrame) -> None:
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.5,))
    model = htl.SharedBottom(schema.with_targets((*schema.targets[:-1], core)), encoder, tower_units=(8,))
    for variable in model.trainable_variables:
        variable.assign(tf.zeros_like(variable))  # every row has the training rows' distribution
    y = np.array([0.0, 1.0, 8.0, 40.0, 200.0])
    found = label_levels(model, model.encoder.encode(frame[:5]), {"spend": y})["spend"]
    spend = frame["spend"].to_numpy()
    share, logs = np.mean(spend > 0), np.log(spend[spend > 0])
    amount = stats.lognorm(s=logs.std(), scale=np.exp(logs.mean()))

    def at(t: Any) -> Any:
        return 1.0 - share + share * amount.cdf(t)

    np.testing.assert_allclose(found["at"], at(y), atol=1e-4)
    np.testing.assert_allclose(found["below"], [0.0, *at(y)[1:]], atol=1e-4)
    for label, crps in zip(y, found["crps"], strict=True):
        expected = integrate.quad(
            lambda t, label=label: (at(t) - (t >= label)) ** 2, 0, 2000, limit=500, points=[label]
        )[0]
        assert crps == pytest.approx(expected, rel=0.05, abs=0.05)  # 50 levels


def test_there_are_none_without_quantiles(make_model: Any, frame: pd.DataFrame) -> None:
    model = make_model(htl.SharedBottom, objective="ziln")
    assert label_levels(model, model.encoder.encode(frame), {"spend": frame["spend"].to_numpy()}) == {}
