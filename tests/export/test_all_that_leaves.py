"""Calibration, quantiles and a ranking at once: every way out of the model gives the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.export.signatures.candidates import Candidates, of_user
from htlnet_tf.serving.server.servables import LoadedVersion
from tests.conftest import small_frame


@pytest.mark.slow  # an ensemble with seven signatures is exported
@pytest.mark.parametrize("objective", ["ziln"])
def test_servable_and_predict_agree(schema: htl.Schema, objective: str, tmp_path: Path) -> None:
    rows = small_frame(1500, seed=9)
    spend = dataclasses.replace(schema.core, objective=objective, quantiles=(0.1, 0.5, 0.9), conformal=True)
    ranking = htl.Ranking({"click": 0.5, "spend": 1.0}, floor={"spend": 0.01})
    declared = dataclasses.replace(schema, targets=(*schema.targets[:-1], spend), ranking=ranking)
    encoder = htl.FeatureEncoder.fit(declared, rows)
    model = htl.Ensemble([htl.HTLNet(declared, encoder, tower_units=(8,)), htl.SharedBottom(declared, encoder)])
    calibration = htl.calibrate(model, rows, steps="isotonic", by="tab", shrinkage=100.0)
    assert set(calibration.levels) == {"spend"}
    due = htl.predict(model, rows[:40])
    names = ["click", "buy", "spend", "spend_p10", "spend_p50", "spend_p90", "score"]
    assert list(due.columns) == names
    # By hand: the score is of what leaves, after calibration.
    score = np.sqrt(due["click"]) * np.maximum(due["spend"], 0.01)
    np.testing.assert_allclose(due["score"], score, rtol=1e-5)
    assert (due["spend_p10"] <= due["spend_p50"]).all() and (due["spend_p50"] <= due["spend_p90"]).all()

    version = htl.export.export_model(model, tmp_path / "htlnet", rows=rows[:60], warmup_rows=())
    raw = raw_features(rows[:40], declared)
    served = LoadedVersion(version.path)
    feeds = htl.export.signatures.SIGNATURES["serving_default"].feeds(encoder, raw)
    scores = served.run("serving_default", feeds)
    for name in names:
        np.testing.assert_allclose(scores[name], due[name], rtol=1e-5, atol=1e-5 * max(1.0, rows["spend"].std()))

    # One user's candidates, and the best of them: those of the rows that a request stands for.
    one = Candidates().feeds(encoder, raw, user=3)
    candidates = served.run("candidates", one)
    ranked = served.run("ranked", one | {"k": np.array([5], np.int32)})
    np.testing.assert_array_equal(ranked["index"], np.argsort(-candidates["score"], kind="stable")[:5])
    for name in names:
        np.testing.assert_allclose(ranked[name], candidates[name][ranked["index"]], rtol=1e-6)
    assert np.ptp(of_user(encoder, raw, 3)["tab"]) == 0

    # P(y > t) at a quantile of a continuous part is what the level leaves, and falls with t.
    thresholds = np.array([[0.0, 1.0, 10.0]], np.float32)
    found = served.run("exceedance", feeds | {"thresholds": thresholds})
    assert found["spend"].shape == (40, 3)
    assert (np.diff(found["spend"], axis=1) <= 1e-6).all()
    python = htl.exceedance(model, rows[:40], thresholds[0])
    np.testing.assert_allclose(python.iloc[:, :3], found["spend"], atol=1e-5)
    served.close()
