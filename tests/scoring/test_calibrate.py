"""A calibrated model: predict, evaluation, run folder, every signature of the export, references."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.manifest import unchecked
from htlnet_tf.scoring.calibration.calibration import Calibration
from htlnet_tf.scoring.calibration.fitting import fit_calibration, require_rows, require_settings
from tests.conftest import small_frame

Build = Callable[..., Any]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Enough of them for every method."""
    return small_frame(3000, seed=5)


@pytest.fixture
def model(reused_model: Build) -> Any:
    """Not trained: calibration has all the more to do."""
    return reused_model()


def test_totals_are_met_and_the_order_stays(model: Any, rows: pd.DataFrame) -> None:
    before = htl.predict(model, rows)
    calibration = htl.calibrate(model, rows)
    after = htl.predict(model, rows)
    assert model.calibration is calibration and calibration.rows == len(rows)
    # Maximum likelihood with a free shift, and the level, meet the totals of the rows they are fitted on.
    for name in ("click", "buy", "spend"):
        assert after[name].mean() == pytest.approx(rows[name].mean(), rel=1e-3)
        order = np.argsort(before[name].to_numpy(), kind="stable")
        assert (np.diff(after[name].to_numpy()[order]) >= 0).all()
    assert list(after.columns) == list(before.columns)


@pytest.mark.parametrize("steps", ["platt", "isotonic"])
def test_evaluation_tells_the_error_before_and_after(model: Any, rows: pd.DataFrame, steps: str) -> None:
    plain = htl.evaluate(model, rows)
    htl.calibrate(model, rows, steps=steps, core="isotonic")
    report = htl.evaluate(model, rows)
    for target, metric in (("click", "calibration_error"), ("buy", "calibration_error"), ("spend", "decile_error")):
        assert report.value(target, f"{metric}_before") == plain.value(target, metric)
        # Not to nothing: the untrained model's order is not the right one, which no increasing curve can mend.
        assert report.value(target, metric) < plain.value(target, metric)
    assert report.value("click", "auc") == pytest.approx(plain.value("click", "auc"), abs=1e-3)
    assert "ECE before" in report.to_text()
    assert "ECE before" not in plain.to_text()
    assert htl.judging.reports.Report.from_dict(report.to_dict(), model.schema) == report


def test_each_value_of_a_column_has_its_own_level(model: Any, rows: pd.DataFrame) -> None:
    shifted = rows.assign(click=((rows["tab"] == 1) | (rows["click"] == 1)).astype(int))
    shifted.loc[shifted["tab"] == 0, "spend"] *= 3.0
    htl.calibrate(model, shifted)
    one = htl.predict(model, shifted)
    htl.calibrate(model, shifted, by="tab", shrinkage=0.0)
    each = htl.predict(model, shifted)
    for tab in range(3):
        at = shifted["tab"] == tab
        for name in ("click", "spend"):
            assert each.loc[at, name].mean() == pytest.approx(shifted.loc[at, name].mean(), rel=2e-3)
            assert abs(one.loc[at, name].mean() / shifted.loc[at, name].mean() - 1) > 0.1
    # With so many further rows that agree with the curve, the rows of a value hardly move it.
    htl.calibrate(model, shifted, by="tab", shrinkage=1e9)
    np.testing.assert_allclose(htl.predict(model, shifted), one, rtol=1e-4)


def test_negatives_that_were_left_out_come_back(model: Any) -> None:
    full = small_frame(20_000, seed=6)
    kept = full[(full["click"] == 1) | (np.random.default_rng(0).random(len(full)) < 0.25)]
    htl.calibrate(model, kept, kept_negatives={"click": 0.25})
    found = htl.predict(model, full).mean()
    # 20,000 rows tell a rate of 0.4 to 0.0035 and the mean spend to about 2 %; without correction it is 0.72.
    assert found["click"] == pytest.approx(full["click"].mean(), abs=0.03)
    assert found["spend"] == pytest.approx(full["spend"].mean(), rel=0.12)
    plain = dataclasses.replace(model.calibration, settings=htl.CalibrationSettings(), after_sampling=())
    model.calibration = plain
    assert htl.predict(model, full)["click"].mean() > full["click"].mean() + 0.2


def test_weights_of_rows_count(schema: htl.Schema, encoder: Any, model: Any, rows: pd.DataFrame) -> None:
    encoded = htl.encoding.encoded.encode_frame(rows, encoder).with_weights()
    only_clicks = {name: np.where(rows["click"] == 1, 1.0, 0.0).astype(np.float32) for name in encoded.labels}
    weighted = EncodedRows(encoded.features, encoded.labels, only_clicks)
    with pytest.raises(htl.InputError, match="'click' by 'platt' needs"):  # no label of the other sort takes part
        htl.calibrate(model, weighted)
    htl.calibrate(model, weighted, steps="none")
    clicked = rows["click"] == 1
    found = htl.predict(model, rows[clicked])["spend"].mean()
    assert found == pytest.approx(rows.loc[clicked, "spend"].mean(), rel=1e-3)


def test_run_folder_and_ensemble_keep_it(model: Any, make_model: Build, rows: pd.DataFrame, tmp_path: Path) -> None:
    ensemble = htl.Ensemble([model, make_model()])
    for number, calibrated in enumerate([model, ensemble, htl.Ensemble([model])]):
        htl.calibrate(calibrated, rows, steps="isotonic", by="tab")
        htl.save_run(calibrated, tmp_path / str(number))
        loaded = htl.load_run(tmp_path / str(number))
        assert loaded.model.calibration == calibrated.calibration
        assert loaded.config.calibration == calibrated.calibration.settings
        np.testing.assert_array_equal(htl.predict(loaded.model, rows), htl.predict(calibrated, rows))
    path = tmp_path / "0" / "calibration.json"
    path.write_text(path.read_text().replace('"isotonic"', '"isotopic"', 1))
    with unchecked(), pytest.raises(htl.InputError, match=r"cannot read '.*calibration.json': steps: .*isotopic"):
        htl.load_run(tmp_path / "0")
    path.write_text("{}")
    with unchecked(), pytest.raises(htl.InputError, match=r"cannot read '.*calibration.json'"):
        htl.load_run(tmp_path / "0")


def test_every_signature_of_the_export_has_it(model: Any, rows: pd.DataFrame, tmp_path: Path) -> None:
    htl.calibrate(model, rows, steps="isotonic", core="isotonic", by="tab", shrinkage=50.0)
    # The export compares every signature, loaded in both ways, with `final_scores`, and refuses a difference.
    version = htl.export.export_model(model, tmp_path / "htlnet", rows=rows[:200], warmup_rows=())
    served = tf.saved_model.load(str(version.path)).signatures["serving_default"]
    raw = htl.data.raw_features.raw_features(rows[:50], model.schema)
    scores = served(**{name: tf.constant(raw[name], spec.dtype) for name, spec in model.encoder.raw_specs().items()})
    due = htl.predict(model, rows[:50])
    for name in ("click", "buy", "spend"):
        np.testing.assert_allclose(scores[name], due[name], rtol=1e-5, atol=1e-6)
    model.calibration = None
    assert np.abs(htl.predict(model, rows[:50]) - due).to_numpy().max() > 1e-3


def test_training_again_drops_it(reused_model: Build, rows: pd.DataFrame, batch: Any) -> None:
    model = reused_model()
    htl.calibrate(model, rows)
    model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    assert model.calibration is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": "level"}, r"steps must be one of \['none', 'isotonic', 'platt'\], received 'level'"),
        ({"core": "platt"}, r"core must be one of \['none', 'isotonic', 'level'\]"),
        ({"by": "spend"}, "no feature 'spend'"),
        ({"by": "age"}, "by must name a categorical feature without lists; 'age' is none"),
        ({"by": "tag"}, "without lists; 'tag' is none"),
        ({"kept_negatives": {"click": 1.5}}, r"a share in \(0, 1\]"),
        ({"kept_negatives": {"clicks": 0.5}}, "no target 'clicks'"),
        ({"kept_negatives": {"spend": 0.5}}, "'spend' is none"),
        ({"kept_negatives": {"buy": 0.5}}, None),
        ({"shrinkage": -1}, "shrinkage"),
        ({"step": "platt"}, "step: there is no such field"),
    ],
)
def test_settings_that_cannot_be(model: Any, rows: pd.DataFrame, settings: Any, message: str | None) -> None:
    if message is None:
        htl.calibrate(model, rows, **settings)
        return
    with pytest.raises(htl.InputError, match=message):
        htl.calibrate(model, rows, **settings)
    assert model.calibration is None


def test_rows_that_cannot_be(model: Any, schema: htl.Schema, encoder: Any, rows: pd.DataFrame) -> None:
    few = htl.encoding.encoded.encode_frame(rows[:50], encoder)
    for refuse in (
        lambda: htl.calibrate(model, rows[:50]),
        lambda: require_rows(htl.CalibrationSettings(), schema, encoder, few),
    ):
        with pytest.raises(htl.InputError, match=r"'click' by 'platt' needs at least 100 rows .* there are 50"):
            refuse()
    with pytest.raises(htl.InputError, match="the frame has no rows"):
        htl.calibrate(model, rows[:0])
    with pytest.raises(htl.InputError, match="calibration takes a DataFrame"):
        htl.calibrate(model, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(htl.InputError, match="click"):
        htl.calibrate(model, rows.drop(columns="click"))
    wrong = rows.copy()
    wrong.loc[wrong.index[(wrong["click"] == 0)][3], "spend"] = 7.0
    with pytest.raises(htl.InputError, match="needs 'spend' to be 0 wherever 'click' did not happen; at row"):
        htl.calibrate(model, wrong, kept_negatives={"click": 0.5})
    assert model.calibration is None


def test_what_cannot_be_is_said_before_training(schema: htl.Schema, encoder: Any) -> None:
    signed = dataclasses.replace(schema.core, non_negative=False)
    sampled = htl.CalibrationSettings(kept_negatives={"click": 0.5})
    spread = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.1, 0.9))
    for settings, core, message in (
        (htl.CalibrationSettings(), signed, "'spend' may be negative, so that its total has no level"),
        (sampled, signed, "kept_negatives of 'click' cannot correct 'spend'"),
        (sampled, spread, "not its distribution: leave out its quantiles"),
    ):
        with pytest.raises(htl.InputError, match=message):
            require_settings(settings, schema.with_targets((*schema.targets[:-1], core)), encoder)


def test_predictions_that_are_not_finite_are_named(model: Any, rows: pd.DataFrame) -> None:
    model.heads["spend"].level.factor.assign(np.nan)
    with pytest.raises(htl.NonFiniteError, match="target 'spend'"):
        htl.calibrate(model, rows)
    assert model.calibration is None


def test_an_ensemble_says_that_its_members_own_do_not_count(
    model: Any, make_model: Build, rows: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    htl.calibrate(model, rows)
    htl.Ensemble([model, make_model()])
    assert "the members' own calibrations do not count" in caplog.text


def test_classes_are_calibrated_one_by_one_and_sum_to_one() -> None:
    random = np.random.default_rng(7)
    truth = random.dirichlet([1.0, 2.0, 3.0], 20_000)
    labels = (truth.cumsum(axis=1) < random.random(20_000)[:, np.newaxis]).sum(axis=1)
    flat = truth**0.4 / (truth**0.4).sum(axis=1, keepdims=True)
    schema = htl.Schema(
        [htl.Categorical("a")], [htl.Multiclass("stars", num_classes=3), htl.Continuous("spend", non_negative=False)]
    )
    frame = pd.DataFrame({"a": ["x"] * 20_000, "stars": labels, "spend": 1.0})
    encoder = htl.FeatureEncoder.fit(schema, frame)
    encoded = htl.encoding.encoded.encode_frame(frame, encoder)
    settings = htl.CalibrationSettings(steps="platt", core="none")
    calibration = fit_calibration(settings, schema, encoder, lambda _: {"stars": flat}, [encoded])
    found = calibration({"stars": tf.constant(flat, tf.float32)}, lambda _: tf.zeros([20_000, 1], tf.int32))
    stars = found["stars"].numpy()
    np.testing.assert_allclose(stars.sum(axis=1), 1.0, rtol=1e-5)
    assert np.abs(stars - truth).mean() < 0.5 * np.abs(flat - truth).mean()
    with pytest.raises(htl.InputError, match="'spend' may be negative, so that its total has no level"):
        predictions = {"spend": np.ones(20_000)}
        fit_calibration(htl.CalibrationSettings(), schema, encoder, lambda _: predictions, [encoded])
    assert Calibration.from_dict(calibration.to_dict()) == calibration
