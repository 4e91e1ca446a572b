"""Rate, level and calibration of later rows, against numbers made by hand and draws."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.judging.target_drift import output_drifts

SCHEMA = htl.Schema(
    features=[htl.Categorical("user")],
    targets=[htl.Binary("click"), htl.Multiclass("kind", num_classes=3), htl.Continuous("spend")],
)


def rows(click: list[float], kind: list[float], spend: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"click": click, "kind": kind, "spend": spend})


def predictions(click: list[float], spend: list[float]) -> pd.DataFrame:
    third = np.full(len(click), 1 / 3)
    return pd.DataFrame({"click": click, "kind_0": third, "kind_1": third, "kind_2": third, "spend": spend})


def test_by_hand() -> None:
    before = rows([0, 0, 0, 1], [0, 1, 2, 0], [0, 0, 0, 8]), predictions([0.2] * 4, [2.0] * 4)
    # The label of the last row is not there.
    later = rows([0, 1, 1, math.nan], [0, 0, 0, 0], [0, 2, 4, math.nan]), predictions([0.5, 0.5, 0.5, 0.9], [1.0] * 4)
    found = output_drifts(SCHEMA, before, later)
    assert list(found) == ["click", "kind_0", "kind_1", "kind_2", "spend"]
    click = found["click"]
    assert (click.labels, click.rate_before) == (3, 0.25)
    assert click.rate == pytest.approx(2 / 3)
    assert click.rate_change.value == pytest.approx((2 / 3) / 0.25 - 1)
    # (var(y) / n + ratio^2 var(y before) / n before) / mean before^2, by hand.
    variance = ((2 / 9) / 3 + (8 / 3) ** 2 * 0.1875 / 4) / 0.0625
    assert click.rate_change.chance == pytest.approx(3 * math.sqrt(variance))
    assert click.level.value == pytest.approx(1.5 / 2)
    assert click.level.chance == pytest.approx(3 * math.sqrt(3 * 0.25) / 2)
    assert click.mean == pytest.approx(0.6)
    # Equal predictions share their mean label: each of the three groups is off by 2/3 - 1/2, the mean label is 2/3.
    assert click.calibration_error.value == pytest.approx((1 / 6) / (2 / 3))
    assert (found["kind_0"].rate_before, found["kind_0"].rate) == (0.5, 1.0)
    assert math.isnan(found["kind_1"].rate_change.value) is False
    spend = found["spend"]
    assert spend.level.value == pytest.approx(3 / 6)
    assert spend.rate_change.value == pytest.approx(0.0)


def test_what_is_undefined_is_said_to_be() -> None:
    nothing = [math.nan] * 4
    before = rows([0] * 4, nothing, [0] * 4), predictions([0.2] * 4, [2.0] * 4)
    found = output_drifts(SCHEMA, before, (rows(nothing, nothing, nothing), predictions([0.4] * 4, [2.0] * 4)))
    for output in found.values():
        assert output.labels == 0
        for measured in (output.rate_change, output.level, output.calibration_error):
            assert math.isnan(measured.value)
    assert found["click"].psi.value > 0


def test_chance_covers_draws_of_a_perfect_model() -> None:
    random = np.random.default_rng(0)
    passed = {"rate_change": 0, "level": 0, "calibration_error": 0, "psi": 0}
    for _ in range(200):
        p = random.beta(1, 20, 500)
        q = random.beta(1, 20, 400)
        before = rows(random.binomial(1, p), np.zeros(500), np.ones(500)), predictions(p, np.ones(500))
        later = rows(random.binomial(1, q), np.zeros(400), np.ones(400)), predictions(q, np.ones(400))
        click = output_drifts(SCHEMA, before, later)["click"]
        passed["rate_change"] += abs(click.rate_change.value) > click.rate_change.chance
        passed["level"] += abs(click.level.value - 1) > click.level.chance
        passed["calibration_error"] += click.calibration_error.value > click.calibration_error.chance
        passed["psi"] += click.psi.value > click.psi.chance
    # Three standard deviations of what is only nearly normal here: about 20 labels are 1.
    assert max(passed.values()) <= 10, passed
