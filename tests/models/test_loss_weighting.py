"""Learned loss weights inside a model: what they do to a step, what is shown, kept and exported."""

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
from htlnet_tf.export.servable import Servable
from htlnet_tf.models import MODELS
from htlnet_tf.runs.building import build_model
from htlnet_tf.runs.config import RunConfig

Build = Callable[..., Any]
LOGS = np.asarray([0.3, -0.5, 1.2])
FACTORS = np.exp(-LOGS) * [1.0, 1.0, 0.5]  # click, buy, spend


@pytest.fixture
def weighing(make_model: Build, schema: htl.Schema) -> Build:
    """Builds a model whose losses are weighed by `FACTORS`, and with plain SGD, which shows a gradient as it is."""

    def build(model: Any = htl.HTLNet, **arguments: Any) -> Any:
        arguments = {"embedding_l2": 0.0} | ({"label_embedding": "expected"} if model is htl.HTLNet else {}) | arguments
        core = dataclasses.replace(schema.core, objective="squared")
        weighting = htl.UncertaintyWeights(schema.with_targets((*schema.targets[:-1], core)))
        built = make_model(model, objective="squared", loss_weighting=weighting, **arguments)
        built.loss_weighting.log_variances.assign(LOGS)
        built.compile(optimizer=tf.keras.optimizers.SGD(0.1))
        return built

    return build


def plain_gradients(model: Any, batch: Any) -> tuple[list[float], list[list[np.ndarray]]]:
    """Per target the unweighted loss and its dense gradients, float64, at every weight but the loss weights."""
    features, targets = batch
    model.loss_weighting, weighting = None, model.loss_weighting
    weights = [w for w in model.trainable_variables if w is not weighting.log_variances]
    with tf.GradientTape(persistent=True) as tape:
        shared = model.shared_input(model.embedding(features["ids"]), features)
        losses = model._task_losses(targets, model.task_outputs([shared] * 3, training=True))
    model.loss_weighting = weighting
    zero = tf.UnconnectedGradients.ZERO
    dense = [
        [
            tf.convert_to_tensor(g).numpy().astype(np.float64)
            for g in tape.gradient(loss, weights, unconnected_gradients=zero)
        ]
        for loss in losses
    ]
    return [float(loss) for loss in losses], dense


@pytest.mark.parametrize("gradient_metrics", [True, False])
@pytest.mark.parametrize("kind", [htl.HTLNet, htl.SharedBottom, htl.AITM])
def test_a_step_against_float64_numpy(weighing: Build, batch: Any, kind: Any, gradient_metrics: bool) -> None:
    """One pass with independent towers, one per task, and the ordinary one: w - 0.1 sum_t f_t G_t, and for s
    s - 0.1 (1/2 - f_t L_t). HTLNet's own adjustment is not there: the weights stand in its place."""
    model = weighing(kind, gradient_metrics=gradient_metrics)
    assert isinstance(model.gradient_adjustment, htl.GradientSum)
    logs = model.loss_weighting.log_variances
    weights = [w for w in model.trainable_variables if w is not logs]
    before = [w.numpy().astype(np.float64) for w in weights]
    losses, gradients = plain_gradients(model, batch)
    model.train_step(batch)
    for i, (weight, start) in enumerate(zip(weights, before, strict=True)):
        expected = start - 0.1 * sum(f * g[i] for f, g in zip(FACTORS, gradients, strict=True))
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6, err_msg=weight.name)
    np.testing.assert_allclose(logs, LOGS - 0.1 * (0.5 - FACTORS * losses), rtol=1e-5)


@pytest.mark.parametrize("kind", [htl.HTLNet, htl.MMoE])
def test_an_adjustment_sees_the_weighted_losses_gradients(
    weighing: Build, make_model: Build, batch: Any, kind: Any
) -> None:
    """M[i, j] of the weighted losses is f_i f_j times that of the plain ones; it decides on the coefficients."""
    grams: list[tf.Tensor] = []

    class Spy(htl.GradientAdjustment):
        def __call__(self, gram: tf.Tensor) -> tf.Tensor:
            grams.append(gram)
            return super().__call__(gram)

    form = {"label_embedding": "expected"} if kind is htl.HTLNet else {}
    for build in (make_model, weighing):
        arguments = {"gradient_metrics": True, "embedding_l2": 0.0} | form
        if build is make_model:
            arguments["objective"] = "squared"
        model = build(kind, gradient_adjustment=Spy(), **arguments)
        model.train_step(batch)
    plain, ours = grams
    np.testing.assert_allclose(ours, np.outer(FACTORS, FACTORS) * plain.numpy(), rtol=1e-4)
    shown = model.gradient_statistics.last_step()
    assert shown["buy_gradient_coefficient"] == pytest.approx(float(htl.GradientAdjustment()(ours)[1]), rel=1e-5)


@pytest.mark.parametrize("kind", [htl.HTLNet, htl.SharedBottom])
def test_a_target_without_rows_keeps_its_weight(weighing: Build, batch: Any, kind: Any) -> None:
    model = weighing(kind)
    for _ in range(3):
        model.train_step((*batch, {"click": tf.zeros([64]), "buy": tf.ones([64]), "spend": tf.zeros([64])}))
    found = model.loss_weighting.log_variances.numpy()
    np.testing.assert_array_equal(found[[0, 2]], LOGS[[0, 2]].astype(np.float32))
    assert abs(found[1] - LOGS[1]) > 1e-3


def test_terms_that_a_model_adds_are_weighed_with_their_target_s_loss(make_model: Build, schema: htl.Schema) -> None:
    """s = log 2 halves what the calibrator adds to the loss of `buy`: 0.6 * mean(0.25, 0, 0.4) / 2."""
    losses = []
    for calibrator in (0.6, 0.0):
        model = make_model(htl.AITM, calibrator=calibrator, loss_weighting=htl.UncertaintyWeights(schema))
        model.loss_weighting.log_variances.assign([0.0, np.log(2.0), 0.0])
        outputs = [tf.zeros([3]), tf.constant(np.log([3.0, 1 / 3, 9.0]), tf.float32), tf.zeros([3])]
        losses.append(model._task_losses(dict.fromkeys(("click", "buy", "spend"), tf.zeros([3])), outputs))
    differences = [float(a - b) for a, b in zip(*losses, strict=True)]
    assert differences == pytest.approx([0.0, 0.6 * 0.65 / 3 / 2, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        # One whose towers are independent, and one that takes a backward pass per target, are for every day.
        name if name in ("htlnet", "mmoe") else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted(set(MODELS) - {"single_task"})
    ],
)
def test_every_model_trains_and_shows_unweighted_losses(
    name: str, make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    plain = make_model(MODELS[name])
    plain.compile(run_eagerly=True)  # four batches: tracing would take longer
    model = make_model(MODELS[name], loss_weighting=htl.UncertaintyWeights(schema))
    model.loss_weighting.log_variances.assign(LOGS)
    unweighted = plain.evaluate(dataset, return_dict=True, verbose=0)
    assert model.evaluate(dataset, return_dict=True, verbose=0) == pytest.approx(unweighted, rel=1e-6)
    shown = model.fit(dataset, validation_data=dataset, epochs=3, verbose=0).history
    assert {name for name in shown if name.startswith("val_")} == {f"val_{name}" for name in unweighted}
    statistics = plain.gradient_statistics.result() if plain.gradient_statistics else {}
    trained = {name for name in shown if not name.startswith("val_")}
    assert trained == (set(unweighted) - {"relative_loss"}) | set(statistics)
    assert shown["val_loss"][-1] < shown["val_loss"][0]
    assert np.abs(model.loss_weighting.log_variances.numpy() - LOGS).max() > 0.05


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (htl.HTLNet, {"run_eagerly": True}),
        pytest.param(htl.SharedBottom, {"jit_compile": True}, marks=pytest.mark.slow),
        pytest.param(htl.HTLNet, {"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=["eager", "xla", "xla, per task"],
)
def test_compile_options(
    weighing: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, kind: Any, options: dict[str, Any]
) -> None:
    dataset = htl.data.make_dataset(frame[:192], schema, encoder, batch_size=32, drop_remainder=True)
    found = []
    for chosen in ({}, options):
        model = weighing(kind, on_nonfinite="skip")
        model.compile(optimizer=htl.LazyAdam(1e-2), **chosen)
        model.fit(dataset, epochs=1, verbose=0)
        found.append(model.loss_weighting.log_variances.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_a_checkpoint_keeps_the_weights(weighing: Build, batch: Any, tmp_path: Path) -> None:
    model = weighing()
    model.train_step(batch)
    model.save_weights(str(tmp_path / "w"))
    restored = weighing()
    restored.load_weights(str(tmp_path / "w"))
    np.testing.assert_array_equal(restored.loss_weighting.log_variances, model.loss_weighting.log_variances)
    assert not np.allclose(restored.loss_weighting.log_variances, LOGS)


def test_a_servable_does_not_know_of_them(weighing: Build, make_model: Build) -> None:
    shapes = [
        sorted(tuple(w.shape) for w in Servable(m)._weights)
        for m in (weighing(), make_model(label_embedding="expected"))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
def test_a_model_with_them_is_exported(weighing: Build, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = weighing()
    assert htl.export.export_model(model, tmp_path / "htlnet", rows=frame[:20]).largest_difference <= 1e-5


def configured(tmp_path: Path, schema: htl.Schema, encoder: Any, name: str, arguments: str) -> Any:
    path = tmp_path / "config.yaml"
    path.write_text(f"data: {{loader: generated}}\nmodel: {{name: {name}, arguments: {arguments}}}")
    return build_model(RunConfig.from_yaml(path), schema, encoder)


def test_configurations_name_it(tmp_path: Path, schema: htl.Schema, encoder: Any) -> None:
    model = configured(tmp_path, schema, encoder, "htlnet", "{loss_weighting: uncertainty}")
    assert isinstance(model.loss_weighting, htl.UncertaintyWeights)
    assert isinstance(model.gradient_adjustment, htl.GradientSum)
    # A squared error counts half (equations 5 to 7), and the objective is the configuration's, not the encoder's.
    squared = RunConfig.from_yaml(tmp_path / "config.yaml", ["objective=squared"])
    model = build_model(squared, schema, encoder)
    weighted = model.loss_weighting([tf.constant(1.0)] * 3, [tf.constant(True)] * 3)
    assert [float(loss) for loss in weighted] == [1.0, 1.0, 0.5]
    both = "{loss_weighting: uncertainty, gradient_adjustment: pcgrad}"
    assert isinstance(configured(tmp_path, schema, encoder, "htlnet", both).gradient_adjustment, htl.PCGrad)
    for wrong in ("dwa", "{name: uncertainty}"):
        with pytest.raises(htl.InputError, match=r"loss_weighting .* is not known; there are \['uncertainty'\]"):
            configured(tmp_path, schema, encoder, "mmoe", f"{{loss_weighting: {wrong}}}")
    with pytest.raises(htl.InputError, match="unexpected keyword argument 'loss_weighting'"):
        configured(tmp_path, schema, encoder, "single_task", "{loss_weighting: uncertainty}")


@pytest.mark.parametrize("name", MODELS)
def test_an_option_that_no_model_has_is_named(name: str, schema: htl.Schema, encoder: Any) -> None:
    misspelt: dict[str, Any] = {"embeding_dim": 4}
    with pytest.raises(TypeError, match="unexpected keyword argument 'embeding_dim'"):
        MODELS[name](schema, encoder, **misspelt)
