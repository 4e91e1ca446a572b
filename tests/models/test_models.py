"""The models and their train step, on small generated rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import model_class
from htlnet_tf.models.planning import planned_steps

Build = Callable[..., Any]


def weights_after(model: Any, batch: Any, steps: int = 2) -> list[np.ndarray]:
    # Plain SGD, so that a difference between gradients is not hidden by Adam's normalisation.
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    for _ in range(steps):
        model.train_step(batch)
    return [w.numpy() for w in model.trainable_variables]


@pytest.mark.parametrize("form", ["marginal", "expected"])
@pytest.mark.parametrize("adjustment", [htl.GradientAdjustment(), htl.GradientAdjustment(1.0, 1.0), htl.GradientSum()])
def test_one_backward_pass_equals_one_per_task(make_model: Build, batch: Any, adjustment: Any, form: str) -> None:
    single = make_model(gradient_adjustment=adjustment, label_embedding=form)
    several = make_model(gradient_adjustment=adjustment, label_embedding=form)
    several.independent_towers = False  # the general path, which makes no use of the towers' independence
    for a, b in zip(weights_after(single, batch), weights_after(several, batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_plain_sum_is_ordinary_training(make_model: Build, batch: Any) -> None:
    plain = make_model(gradient_adjustment=htl.GradientSum(), label_embedding="expected", gradient_metrics=False)
    measured = make_model(gradient_adjustment=htl.GradientSum(), label_embedding="expected")
    for a, b in zip(weights_after(plain, batch), weights_after(measured, batch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_step_against_float64_numpy(make_model: Build, batch: Any) -> None:
    """The table's update from per-task dense gradients, adjusted on flattened float64 vectors by the paper's steps."""
    model = make_model(
        label_embedding="expected", embedding_l2=1e-3, gradient_adjustment=htl.GradientAdjustment(1.0, 0.5, 100.0)
    )
    features, targets = batch
    table = model.embedding.table.numpy().astype(np.float64)
    gradients = []
    for t in range(3):
        with tf.GradientTape() as tape:
            shared = tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)
            losses = model._task_losses(targets, model.task_outputs([shared] * 3, training=True))
        dense = tf.convert_to_tensor(tape.gradient(losses[t], model.embedding.table))
        gradients.append(dense.numpy().astype(np.float64).ravel())
    core, total = gradients[-1], gradients[-1].copy()
    for g in gradients[:-1]:
        direction = g - min(0.0, g @ core) / (core @ core) * core
        total += 0.5 * (1.0 + min(np.linalg.norm(core) / np.linalg.norm(direction), 100.0)) * direction
    touched = np.unique(features["ids"].numpy())
    expected = table.copy()
    expected[touched] -= 0.1 * (total.reshape(table.shape)[touched] + 2e-3 * table[touched])
    weights_after(model, batch, steps=1)
    np.testing.assert_allclose(model.embedding.table, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("form", ["marginal", "soft"])
def test_stop_gradient_keeps_later_losses_out_of_earlier_towers(make_model: Build, batch: Any, form: str) -> None:
    def gradient_reaches(stop: bool) -> bool:
        model = make_model(stop_gradient=stop, label_embedding=form)
        features, targets = batch
        with tf.GradientTape() as tape:
            shared = tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)
            core = model._task_losses(targets, model.training_outputs([shared] * 3, targets, None))[-1]
        return any(g is not None for g in tape.gradient(core, model.towers[0].trainable_variables))

    assert not gradient_reaches(True)
    assert gradient_reaches(False)


@pytest.mark.parametrize("form", ["marginal", "soft", "hard"])
def test_later_losses_train_label_embeddings_and_fusions(make_model: Build, batch: Any, form: str) -> None:
    model = make_model(label_embedding=form)
    features, targets = batch
    units = [*model.label_embeddings.values(), *model.representation_fusions[1:], *model.label_fusions[1:]]
    with tf.GradientTape() as tape:
        shared = tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)
        losses = model._task_losses(targets, model.training_outputs([shared] * 3, targets, None))
    gradients = tape.gradient(losses, [unit.trainable_variables[0] for unit in units])
    for unit, gradient in zip(units, gradients, strict=True):
        assert gradient is not None, unit.name
        assert float(tf.norm(gradient)) > 0, unit.name


def test_a_model_cannot_claim_independence_it_does_not_have(make_model: Build, batch: Any) -> None:
    class Wrong(htl.SharedBottom):
        independent_towers = True

        def task_outputs(self, views: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
            return [sum(tower(self.bottom[0](view))[1] for view in views) for tower in self.towers]

    model = make_model(Wrong, bottom_units=(8,), gradient_metrics=True)
    with pytest.raises(RuntimeError, match="independent_towers"):
        model.train_step(batch)


@pytest.mark.parametrize(
    "arguments",
    [
        {"use_label_embedding": False},
        {"use_representation": False},
        {"use_label_embedding": False, "use_representation": False},
        {"fusion": "concat"},
        {"stop_gradient": False},
        {"label_embedding": "expected"},
        {"label_embedding": "hard"},
        {"paper": True},
    ],
)
def test_ablations_train(make_model: Build, batch: Any, arguments: dict[str, Any]) -> None:
    model = make_model(**arguments)
    first = float(model.train_step(batch)["loss"])
    for _ in range(5):
        model.train_step(batch)
    model.reset_metrics()
    assert float(model.test_step(batch)["loss"]) < first


def test_inference_is_deterministic_and_training_is_not(make_model: Build, batch: Any) -> None:
    model = make_model(label_embedding="soft")
    features, _ = batch
    np.testing.assert_array_equal(model(features)["spend"], model(features)["spend"])
    assert not np.allclose(model(features, training=True)["spend"], model(features, training=True)["spend"])


def test_predictions_are_in_the_targets_own_units(schema: htl.Schema, batch: Any, frame: pd.DataFrame) -> None:
    core = htl.Continuous("spend", objective="squared", non_negative=False)
    squared = schema.with_targets((*schema.targets[:-1], core))
    model = htl.HTLNet(squared, htl.FeatureEncoder.fit(squared, frame), tower_units=(16, 8))
    features, _ = batch
    outputs = model.task_outputs(
        [tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)] * 3, training=False
    )
    scores = model(features)
    np.testing.assert_allclose(scores["click"], 1 / (1 + np.exp(-outputs[0].numpy())), rtol=1e-5)
    expected = outputs[2].numpy() * frame["spend"].std(ddof=0) + frame["spend"].mean()
    np.testing.assert_allclose(scores["spend"], expected, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-30, 1e-13, 1e30])
def test_amounts_of_any_unit_are_learned_alike(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, unit: float
) -> None:
    scaled = frame.assign(spend=frame["spend"] * unit)
    results = {}
    for size, rows in ((1.0, frame), (unit, scaled)):
        encoder = htl.FeatureEncoder.fit(schema, rows)
        tf.keras.utils.set_random_seed(0)
        model = htl.HTLNet(schema, encoder, tower_units=(8,))
        features, targets = next(iter(htl.data.make_dataset(rows, schema, encoder, batch_size=400)))
        results[size] = {name: float(value) for name, value in model.test_step((features, targets)).items()}
        results[size]["mean"] = float(np.mean(model(features)["spend"].numpy().astype(np.float64))) / size
    assert results[unit] == pytest.approx(results[1.0], rel=1e-5)


@pytest.mark.parametrize(("unit", "standardise"), [(1e-20, False), (1e20, False), (1e-38, True), (1e37, True)])
def test_amounts_beyond_what_can_be_trained_are_refused(
    schema: htl.Schema, frame: pd.DataFrame, unit: float, standardise: bool
) -> None:
    core = htl.Continuous("spend", standardise=standardise)
    declared = htl.Schema(features=schema.features, targets=[*schema.targets[:-1], core], timestamp="time_ms")
    encoder = htl.FeatureEncoder.fit(declared, frame.assign(spend=np.minimum(frame["spend"], 9.0) * unit))
    with pytest.raises(htl.InputError, match=r"target 'spend': amounts of the size .* another unit"):
        htl.SharedBottom(declared, encoder)


def test_a_core_that_is_not_standardised_is_trained_on_raw_amounts(schema: htl.Schema, frame: pd.DataFrame) -> None:
    raw = htl.Schema(
        features=schema.features,
        targets=[
            *schema.targets[:-1],
            htl.Continuous("spend", standardise=False, objective="squared", non_negative=False),
        ],
        timestamp="time_ms",
    )
    encoder = htl.FeatureEncoder.fit(raw, frame)
    model = htl.HTLNet(raw, encoder, tower_units=(8,))
    assert model.heads["spend"].objective.units == (0.0, 1.0)
    features, targets = next(iter(htl.data.make_dataset(frame, raw, encoder, batch_size=400)))
    model.test_step((features, targets))
    expected = np.mean((targets["spend"].numpy() - model(features)["spend"].numpy()) ** 2)
    assert float(model.heads["spend"].mean_loss.result()) == pytest.approx(expected, rel=1e-4)


def test_epoch_metrics_average_over_rows_of_unequal_batches(
    reused_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    model = reused_model()
    head = model.towers[0].head
    head.kernel.assign(20.0 * head.kernel)  # or the logits would fall into few of the AUC's buckets
    dataset = htl.data.make_dataset(frame[:90], schema, encoder, batch_size=64)  # 64 and 26 rows
    logs = model.evaluate(dataset, return_dict=True, verbose=0)
    report = htl.evaluate(model, frame[:90])
    assert logs["click_loss"] == pytest.approx(report.value("click", "logloss"), rel=1e-5)
    assert logs["spend_nrmse"] == pytest.approx(report.value("spend", "nrmse"), rel=1e-5)
    assert logs["spend_nmae"] == pytest.approx(report.value("spend", "nmae"), rel=1e-5)
    assert logs["click_auc"] == pytest.approx(report.value("click", "auc"), abs=0.02)  # bucketed
    assert logs["loss"] == pytest.approx(logs["click_loss"] + logs["buy_loss"] + logs["spend_loss"], rel=1e-6)


def test_fit_shows_gradient_statistics_as_means_over_steps(
    reused_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    dataset = htl.data.make_dataset(frame[:90], schema, encoder, batch_size=64)
    model = reused_model(label_embedding="expected")
    by_step = []
    for batch in dataset:
        model.train_step(batch)
        by_step.append(float(model.gradient_statistics.result()["click_gradient_norm"]))
        model.reset_metrics()
    history = reused_model(label_embedding="expected").fit(dataset, epochs=1, verbose=0).history
    assert history["click_gradient_norm"][0] == pytest.approx(np.mean(by_step), rel=1e-4)
    assert history["spend_gradient_cosine"][0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "traces"),
    [
        (lambda: htl.LazyAdam(tf.keras.optimizers.schedules.ExponentialDecay(1e-2, 10, 0.9)), 1),
        (lambda: tf.keras.optimizers.legacy.SGD(1e-2, momentum=0.9), 2),
    ],
    ids=["lazy adam", "legacy"],
)
def test_a_step_is_traced_once(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, optimizer: Any, traces: int
) -> None:
    """Tracing takes seconds; a legacy optimizer makes its slots within the first step, which takes another."""
    model = make_model()
    model.compile(optimizer=optimizer())
    traced: list[None] = []
    outputs = model.training_outputs
    model.training_outputs = lambda *arguments, **options: (traced.append(None), outputs(*arguments, **options))[1]
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    losses = model.fit(dataset, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert len(traced) <= traces


def test_the_temperature_falls_with_the_steps_and_is_kept_by_a_checkpoint(
    make_model: Build, batch: Any, tmp_path: Path
) -> None:
    model = make_model(tau_decay=0.1)
    for _ in range(3):
        model.train_step(batch)
    assert float(model.label_embeddings["click"].tau) == pytest.approx(np.exp(-0.3), rel=1e-5)
    model.save_weights(str(tmp_path / "w"))
    restored = make_model(tau_decay=0.1)
    restored.load_weights(str(tmp_path / "w")).expect_partial()
    assert float(restored.label_embeddings["buy"].tau) == float(model.label_embeddings["buy"].tau)
    for a, b in zip(model.weights, restored.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_temperature_arrives_after_a_share_of_the_training(
    make_model: Build, frame: pd.DataFrame, schema: htl.Schema, encoder: Any
) -> None:
    model = make_model(label_embedding="soft", tau_share=0.5)
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    steps = len(dataset)
    reached: list[float] = []
    record = tf.keras.callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: reached.append(float(model.label_embeddings["click"].tau))
    )
    model.fit(dataset, epochs=4, verbose=0, callbacks=[record])
    # tau falls by the same factor each step, from 1 to 0.1 in half of the 4 epochs.
    expected = np.maximum(0.1 ** (np.arange(1, 4 * steps + 1) / (2 * steps)), 0.1)
    np.testing.assert_allclose(reached, expected, rtol=1e-4)


def test_the_steps_that_are_ahead() -> None:
    rows = tf.data.Dataset.range(10)
    assert planned_steps({"x": rows.batch(4), "epochs": 3}) == 9
    assert planned_steps({"x": rows.batch(4), "epochs": 5, "initial_epoch": 3}) == 6
    assert planned_steps({"x": rows.repeat(), "steps_per_epoch": 7, "epochs": 2}) == 14
    assert planned_steps({"x": rows.repeat(), "epochs": 2}) is None
    # Keras takes floor(100 * 0.75) rows to train, in batches of 32 if nothing else is said.
    arrays = {"ids": np.zeros([100, 2])}
    assert planned_steps({"x": arrays, "validation_split": 0.25}) == 3
    assert planned_steps({"x": arrays, "batch_size": 50}) == 2
    assert planned_steps({"x": iter([])}) is None


def test_multiclass_targets(frame: pd.DataFrame, schema: htl.Schema) -> None:
    stars = schema.with_features(schema.features[:2])
    stars = htl.Schema(
        features=stars.features, targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), schema.core]
    )
    rows = frame.assign(stars=np.arange(len(frame)) % 3)
    encoder = htl.FeatureEncoder.fit(stars, rows)
    model = htl.HTLNet(stars, encoder, tower_units=(8,))
    model.compile()
    history = model.fit(htl.data.make_dataset(rows, stars, encoder), epochs=1, verbose=0).history
    assert "stars_accuracy" in history
    scores = htl.predict(model, rows)
    assert list(scores.columns) == ["click", "stars_0", "stars_1", "stars_2", "spend"]
    np.testing.assert_allclose(scores.filter(like="stars").sum(axis=1), 1.0, atol=1e-5)
    assert htl.evaluate(model, rows).value("stars", "accuracy") >= 0


def test_wrong_use(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    with pytest.raises(htl.InputError, match="'dlrm' is not known"):
        model_class("dlrm")
    with pytest.raises(ValueError, match="fusion must be"):
        htl.HTLNet(schema, encoder, fusion="sum")  # type: ignore[arg-type]
    other = schema.with_features(schema.features[:3])
    with pytest.raises(htl.InputError, match="fitted for another schema"):
        htl.HTLNet(other, encoder)
    with pytest.raises(htl.InputError, match="fitted for another schema"):
        htl.data.make_dataset(frame, other, encoder)


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_raw_rows_are_refused_with_the_way_to_go(make_model: Build, frame: pd.DataFrame, method: str) -> None:
    with pytest.raises(htl.InputError, match=rf"`model\.{method}` takes encoded batches .*make_dataset"):
        getattr(make_model(), method)(frame)
    with pytest.raises(htl.InputError, match="received a DataFrame"):
        getattr(make_model(), method)(x=frame)


def test_raw_rows_to_validate_on_are_refused_before_an_epoch(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder)
    for raw in (frame, (frame, frame["click"])):
        with pytest.raises(htl.InputError, match="received a DataFrame"):
            make_model().fit(dataset, validation_data=raw)


def test_labels_may_be_columns(make_model: Build, batch: Any) -> None:
    """Keras makes [B, 1] of pandas columns; they must not broadcast against outputs [B]."""
    features, targets = batch
    columns = {name: values[:, tf.newaxis] for name, values in targets.items()}
    flat, column = (make_model().test_step((features, t)) for t in (targets, columns))
    for name in flat:
        assert float(flat[name]) == pytest.approx(float(column[name]), rel=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_execution": 3},
        {"run_eagerly": True},
        # XLA compiles for ten seconds; a smaller model is in test_loss_weighting.py.
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=["several steps", "eager", "xla"],
)
def test_compile_options(
    make_model: Build,
    reused_model: Build,
    schema: htl.Schema,
    frame: pd.DataFrame,
    encoder: Any,
    options: dict[str, Any],
) -> None:
    dataset = htl.data.make_dataset(frame[:192], schema, encoder, batch_size=32, drop_remainder=True)
    expected = reused_model(label_embedding="expected").fit(dataset, epochs=2, verbose=0).history["loss"]
    model = make_model(label_embedding="expected", on_nonfinite="skip" if "jit_compile" in options else "raise")
    model.compile(optimizer=htl.LazyAdam(1e-2), **options)
    assert model.fit(dataset, epochs=2, verbose=0).history["loss"] == pytest.approx(expected, rel=1e-4)


def test_what_compile_and_fit_do_not_take(make_model: Build, batch: Any) -> None:
    model = make_model()
    with pytest.raises(TypeError, match="takes no \\['loss'\\]"):
        model.compile(loss="mse")
    with pytest.raises(ValueError, match="jit_compile needs on_nonfinite"):
        model.compile(jit_compile=True)
    with pytest.raises(ValueError, match="sample weights must be given by target name"):
        model.train_step((*batch, {"share": tf.ones([64])}))
    with pytest.raises(ValueError, match="embedding_dim"):
        make_model(embedding_dim=0)


@pytest.mark.slow
def test_two_replicas_equal_one() -> None:
    """In a process of its own: logical devices must be made before TensorFlow starts."""
    script = Path(__file__).with_name("two_replicas.py")
    result = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
