"""What users of Keras do by habit: lists from evaluate, saving and copying, the lines that fit prints."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import MODELS

Build = Callable[..., Any]


@pytest.fixture(scope="module")
def fitted(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> tuple[Any, Any]:
    """A model that has been fitted, and the batches."""
    tf.keras.utils.set_random_seed(0)
    model = htl.HTLNet(schema, encoder, tower_units=(8,))
    model.compile(optimizer=htl.LazyAdam(1e-2))
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    model.fit(dataset, validation_data=dataset, verbose=0)
    return model, dataset


def test_a_list_has_the_loss_first_and_every_name_beside_its_value(fitted: tuple[Any, Any]) -> None:
    model, dataset = fitted
    by_name = model.evaluate(dataset, verbose=0, return_dict=True)
    listed = model.evaluate(dataset, verbose=0)
    assert model.metrics_names[:2] == ["loss", "click_loss"]
    assert set(model.metrics_names) == set(by_name)
    assert dict(zip(model.metrics_names, listed, strict=True)) == by_name
    batch = next(iter(dataset))
    assert dict(zip(model.metrics_names, model.test_on_batch(*batch), strict=True)) == pytest.approx(
        model.test_on_batch(*batch, return_dict=True)
    )


def test_train_on_batch_as_a_list(make_model: Build, batch: Any) -> None:
    one, other = (make_model(label_embedding="expected") for _ in range(2))
    for model in (one, other):
        model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
    listed, by_name = one.train_on_batch(*batch), other.train_on_batch(*batch, return_dict=True)
    assert one.metrics_names[-1] == "relative_loss"
    names = one.metrics_names[:-1]
    assert dict(zip(names, listed, strict=True)) == pytest.approx({name: by_name[name] for name in names})
    assert "click_gradient_norm" in by_name


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_models_names_are_those_of_its_results(schema: htl.Schema, encoder: Any, batch: Any, name: str) -> None:
    model = MODELS[name](schema, encoder, tower_units=(8,))
    assert list(model.test_step(batch)) == model.metrics_names
    assert {metric.name for metric in model.metrics} >= set(model.metrics_names)
    model.reset_metrics()
    assert float(model.heads["click"].mean_loss.result()) == 0.0


@pytest.mark.parametrize(
    "save",
    [
        lambda model, path: model.save(path / "folder"),
        lambda model, path: model.save(path / "model.keras"),
        lambda model, path: model.save(path / "model.h5"),
        lambda model, path: model.export(path / "exported"),
        lambda model, path: tf.keras.models.save_model(model, path / "folder"),
        lambda model, path: tf.keras.models.save_model(model, path / "model.keras"),
        lambda model, path: tf.saved_model.save(model, str(path / "folder")),
        lambda model, path: pickle.dumps(model),
        lambda model, path: copy.deepcopy(model),
        lambda model, path: copy.copy(model),
        lambda model, path: tf.keras.models.clone_model(model),
        lambda model, path: model.to_json(),
    ],
    ids=[
        "save",
        "keras",
        "h5",
        "export",
        "save_model",
        "save_model keras",
        "saved_model",
        "pickle",
        "deepcopy",
        "copy",
        "clone_model",
        "to_json",
    ],
)
def test_what_could_not_be_read_back_is_refused_before_it_is_written(
    fitted: tuple[Any, Any], tmp_path: Path, save: Callable[[Any, Path], Any]
) -> None:
    with pytest.raises(htl.InputError, match=r"is refused.*save_run.*load_run.*save_weights.*export_model"):
        save(fitted[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_whole_models_is_refused_before_the_first_epoch(
    fitted: tuple[Any, Any], tmp_path: Path
) -> None:
    model, dataset = fitted
    step = int(model.optimizer.iterations)
    for callbacks in (
        [tf.keras.callbacks.ModelCheckpoint(str(tmp_path / "w"))],
        tf.keras.callbacks.ModelCheckpoint(str(tmp_path / "w.keras")),
    ):
        with pytest.raises(htl.InputError, match="ModelCheckpoint without save_weights_only=True is refused"):
            model.fit(dataset, verbose=0, callbacks=callbacks)
    bracket = tf.keras.callbacks.ModelCheckpoint(tmp_path / "lr=[1]" / "w", save_weights_only=True)
    with pytest.raises(htl.InputError, match=r"has a '\[' in it"):
        model.fit(dataset, None, None, 1, 0, [bracket])  # by position, as Keras takes them
    assert int(model.optimizer.iterations) == step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["w", "w.h5", "w.weights.h5"])
def test_weights_are_saved_and_read_in_every_format(
    fitted: tuple[Any, Any], schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path: Path, file: str
) -> None:
    model, _ = fitted
    model.save_weights(tmp_path / file)
    restored = htl.HTLNet(schema, encoder, tower_units=(8,))
    restored.load_weights(tmp_path / file)
    np.testing.assert_array_equal(htl.predict(restored, frame), htl.predict(model, frame))


def test_checkpoints_of_weights_and_backups_work(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, tmp_path: Path
) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    model = make_model(label_embedding="expected")
    best = tf.keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}" / "w", save_weights_only=True, save_best_only=True, monitor="val_relative_loss"
    )
    backup = tf.keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    model.fit(dataset, validation_data=dataset, epochs=2, verbose=0, callbacks=[best, backup])
    restored = make_model(label_embedding="expected")
    restored.load_weights(tmp_path / "2" / "w")
    restored.fit_level(dataset)  # which fit does at its end, after the checkpoint was written
    np.testing.assert_array_equal(htl.predict(restored, frame), htl.predict(model, frame))


def test_the_line_of_an_epoch_can_be_read_and_history_has_the_rest(
    fitted: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model, dataset = fitted
    capsys.readouterr()
    history = model.fit(dataset, validation_data=dataset, verbose=2).history
    printed = capsys.readouterr().out
    shown = re.findall(r"(\w+): [\d.]", printed)
    losses = ["loss", "click_loss", "buy_loss", "spend_loss", "click_auc", "buy_auc", "spend_nrmse"]
    assert shown == [*losses, *(f"val_{name}" for name in losses), "val_relative_loss"]
    assert "click_gradient_norm" in history
    assert "spend_nmae" in history
    model.evaluate(dataset, verbose=2)
    assert re.findall(r"(\w+): [\d.]", capsys.readouterr().out) == losses
    model.fit(dataset, verbose=1)
    printed = capsys.readouterr().out
    assert "loss" in printed
    assert "gradient" not in printed
    assert "nmae" not in printed
    model.fit(dataset, verbose=0)
    model.evaluate(dataset, verbose=0)
    assert capsys.readouterr().out == ""
