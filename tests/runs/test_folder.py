"""`htl.save_run` and `htl.load_run`: a model trained from Python, kept with all that scoring with it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.gradients import ADJUSTMENTS
from htlnet_tf.models import MODELS
from htlnet_tf.runs.building import build_model, model_config
from htlnet_tf.runs.training import load_test_rows

Build = Callable[..., Any]


def test_a_model_is_kept_with_what_is_known_of_it(
    make_model: Build, frame: pd.DataFrame, batch: Any, tmp_path: Path
) -> None:
    model = make_model(
        embedding_dim=6,
        fusion="concat",
        gradient_adjustment=htl.GradientAdjustment(gamma=tf.keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)),
        core="buy",
        tau_min=np.float64(0.2),
        embedding_l2=0.0,
    )
    model.towers[0].trainable = False  # which is another order of its weights
    model.compile(optimizer=tf.keras.optimizers.SGD(0.01, momentum=0.9))
    model.train_step(batch)
    report = htl.evaluate(model, frame)
    htl.save_run(model, tmp_path / "run", report=report, held_out=frame.tail(5))
    loaded = htl.load_run(tmp_path / "run")
    np.testing.assert_array_equal(htl.predict(loaded.model, frame), htl.predict(model, frame))
    assert loaded.model.gradient_adjustment.get_config() == model.gradient_adjustment.get_config()
    assert loaded.model.embedding_l2 == 0.0
    assert loaded.config.training.learning_rate == pytest.approx(0.01)
    assert loaded.report is not None
    assert loaded.report.to_dict() == report.to_dict()
    assert loaded.held_out is not None
    pd.testing.assert_frame_equal(loaded.held_out, frame.tail(5))
    assert loaded.split is None
    assert float(loaded.model.train_step(batch)["loss"]) > 0  # by another optimizer than before
    loaded = htl.load_run(tmp_path / "run")
    with pytest.raises(htl.InputError, match="exists already"):
        htl.save_run(model, tmp_path / "run")
    htl.save_run(loaded.model, tmp_path / "run", overwrite=True)
    again = htl.load_run(tmp_path / "run")
    np.testing.assert_array_equal(htl.predict(again.model, frame), htl.predict(model, frame))
    assert (again.report, again.held_out) == (None, None)
    # Without a rule for the split all rows that are given are judged.
    frame.to_parquet(tmp_path / "rows.parquet")
    assert sum(len(part) for part in load_test_rows(tmp_path / "run", tmp_path / "rows.parquet")) == len(frame)
    with pytest.raises(htl.InputError, match="needs a path"):
        load_test_rows(tmp_path / "run")


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_can_be_said_in_a_configuration(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    arguments: dict[str, Any] = {"tower_units": (8,), "embedding_dim": 3, "name": "mine"}
    if name != "single_task":
        arguments["loss_weighting"] = htl.UncertaintyWeights(schema)
    model = MODELS[name](schema, encoder, **arguments)
    htl.save_run(model, tmp_path / "run")
    restored = htl.load_run(tmp_path / "run").model
    assert type(restored) is type(model)
    assert restored.name == "mine"
    for a, b in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_adjustment_can_be_said_in_a_configuration(schema: htl.Schema, encoder: Any) -> None:
    for name, adjustment in ADJUSTMENTS.items():
        model = htl.SharedBottom(schema, encoder, tower_units=(8,), core="click", gradient_adjustment=adjustment())
        declared = model_config(model).arguments["gradient_adjustment"]
        assert declared["name"] == name
        assert model_config(model).arguments["core"] == "click"


def test_what_a_configuration_cannot_say_is_refused(
    schema: htl.Schema, encoder: Any, make_model: Build, tmp_path: Path
) -> None:
    class Mine(htl.SharedBottom):
        pass

    with pytest.raises(htl.InputError, match=r"a Mine is none of the package's models.*save_weights.*encoder\.save"):
        htl.save_run(make_model(Mine), tmp_path / "run")
    own = htl.SharedBottom(schema, encoder, gradient_adjustment=tf.linalg.diag_part)
    with pytest.raises(htl.InputError, match="argument 'gradient_adjustment' is <function"):
        htl.save_run(own, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert callable(build_model)


def test_streams_are_scored_row_by_row(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, tmp_path: Path
) -> None:
    model = make_model(htl.SharedBottom)
    bad = frame.copy()
    bad["click"] = bad["click"].astype(object)
    bad.loc[150, "click"] = "perhaps"
    bad[:100].to_csv(tmp_path / "a.csv", index=False)
    bad[100:].to_csv(tmp_path / "b.csv", index=False)
    stream = htl.data.open_stream(tmp_path, schema, on_bad_rows="skip")
    scores = htl.predict(model, stream)
    expected = htl.predict(model, frame.drop(150))
    assert list(scores.columns) == ["click", "buy", "spend"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    files = [str(tmp_path / "a.csv")] * 100 + [str(tmp_path / "b.csv")] * 299
    assert scores.index.get_level_values("file").tolist() == files
    assert scores.index.get_level_values("row").tolist() == [*range(100), *range(50), *range(51, 300)]
    with pytest.raises(htl.InputError, match=r"predict takes a DataFrame, or .*open_stream.*received a str"):
        htl.predict(model, str(tmp_path))
