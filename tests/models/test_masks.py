"""Missing labels and sample weights in losses, steps and metrics; expected values from NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data.labels import label_values
from htlnet_tf.gradients import GradientAdjustment, GradientSum, MetaBalance, PCGrad
from htlnet_tf.models.heads import Head
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.objectives.rows import weights_by_target
from htlnet_tf.runs.callbacks import GradientHistory, KeepBest
from htlnet_tf.schema import Binary, Continuous, Multiclass
from tests import reference

Build = Callable[..., Any]
NAMES = ("click", "buy", "spend")


def batches(*parts: Any) -> tf.data.Dataset:
    """A dataset of batches that were made by hand, of any sizes."""
    signature = tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), parts[0])
    return tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=signature)


def rows_of(batch: Any, rows: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, np.asarray(rows)), batch)


def random_weights(num_rows: int, seed: int = 0) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(seed)
    return {n: tf.constant(random.choice([0, 0.5, 1, 2], num_rows), tf.float32) for n in NAMES}


def spoilt(batch: Any, weights: dict[str, tf.Tensor]) -> Any:
    """The batch with NaN for every label that has the weight 0."""
    features, targets = batch
    return features, {n: tf.where(weights[n] == 0, float("nan"), targets[n]) for n in targets}, weights


def after_a_step(model: Any, batch: Any) -> list[np.ndarray]:
    # Plain SGD: Adam would move weights that have no gradient by their momentum.
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    model.train_step(batch)
    return [w.numpy() for w in model.trainable_variables]


def head_of(target: Any) -> Head:
    """Of a target whose labels have the mean 0 and the standard deviation 1."""
    return Head(target, cast(Any, SimpleNamespace(labels={target.name: LabelStatistics(0.0, 1.0)})))


SQUARED = Continuous("a", objective="squared", non_negative=False)


class TestLosses:
    @given(st.lists(st.tuples(st.integers(0, 2), st.floats(-4, 4), st.sampled_from([0.0, 0.25, 1.0, 3.0])), min_size=1))
    @settings(max_examples=25)
    def test_loss_and_gradient_against_float64(self, rows: list[tuple[int, float, float]]) -> None:
        classes, values, weights = (np.array(column, np.float64) for column in zip(*rows, strict=True))
        for target in (Binary("a"), Multiclass("a", num_classes=3), SQUARED):
            labels = np.minimum(classes, 1) if target.kind == "binary" else classes
            outputs = np.stack([values, -values, values / 2], axis=1) if target.kind == "multiclass" else values
            poisoned = tf.constant(np.where(weights == 0, -7 if target.kind == "multiclass" else np.nan, labels))
            bad = np.where((weights == 0).reshape(-1, *[1] * (outputs.ndim - 1)), np.inf, outputs)
            o = tf.constant(bad, tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(o)
                head = head_of(target)
                kind = tf.int32 if target.kind == "multiclass" else tf.float32
                loss = head.row_losses(tf.cast(poisoned, kind), o, tf.constant(weights, tf.float32)).mean()
            expected, gradient = reference.masked_loss(target.kind, labels, outputs, weights)
            assert float(loss) == pytest.approx(expected, rel=1e-5, abs=1e-6)
            np.testing.assert_allclose(tape.gradient(loss, o), gradient, rtol=1e-5, atol=1e-7)

    def test_without_weights_the_mean_is_over_all_rows(self) -> None:
        head, y, o = head_of(SQUARED), tf.constant([1.0, 2.0]), tf.constant([1.0, 5.0])
        assert float(head.row_losses(y, o, None).mean()) == 4.5
        assert float(head.row_losses(y, o, tf.constant([1.0, 2.0])).mean()) == 9.0

    def test_the_third_element(self) -> None:
        assert weights_by_target(None, NAMES) is None
        for_all = weights_by_target(tf.constant([[1], [2]]), NAMES)
        assert for_all is not None
        assert list(for_all) == list(NAMES)
        np.testing.assert_array_equal(for_all["buy"], [1.0, 2.0])
        with pytest.raises(ValueError, match=r"given by target name; received \['share'\]"):
            weights_by_target({"share": tf.ones([2])}, NAMES)
        with pytest.raises(ValueError, match=r"'click' must have the shape \[B\], received \(2, 3\)"):
            weights_by_target(tf.ones([2, 3]), NAMES)


def test_a_train_step_against_float64_numpy(frame: pd.DataFrame) -> None:
    """Shared-Bottom with the plain sum: every weight's update by hand-written backpropagation."""
    schema = htl.Schema(
        features=[htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")],
        targets=[
            htl.Binary("click"),
            htl.Multiclass("tab", num_classes=3),
            htl.Continuous("spend", objective="squared", non_negative=False),
        ],
    )
    encoder = htl.FeatureEncoder.fit(schema, frame)
    arguments = {"bottom_units": (6,), "tower_units": (5,), "embedding_l2": 0.0, "gradient_metrics": True}
    model = htl.SharedBottom(schema, encoder, embedding_dim=4, **arguments)
    model.embedding.table.assign(tf.random.stateless_normal(model.embedding.table.shape, [1, 2]))
    features, targets = next(iter(htl.data.make_dataset(frame, schema, encoder, batch_size=40)))
    random = np.random.default_rng(3)
    weights = {t.name: random.choice([0, 0.5, 1, 2], 40) for t in schema.targets}
    labels = {name: values.numpy().astype(np.float64) for name, values in targets.items()}
    labels["spend"] = (labels["spend"] - frame["spend"].mean()) / frame["spend"].std(ddof=0)

    ids, numeric = features["ids"].numpy(), features["numeric"].numpy().astype(np.float64)
    before = {w.ref(): w.numpy().astype(np.float64) for w in model.trainable_variables}
    table = before[model.embedding.table.ref()]
    x = np.concatenate([table[ids].reshape(40, -1), numeric], axis=1)
    bottom = model.bottom[0]
    kernel, bias = before[bottom.kernel.ref()], before[bottom.bias.ref()]
    shared = reference.dense(x, kernel, bias)
    losses, at_shared, gradients = [], np.zeros_like(shared), {}
    for target, tower in zip(schema.targets, model.towers, strict=True):
        layer, head = tower.hidden[0], tower.head
        hidden = reference.dense(shared, before[layer.kernel.ref()], before[layer.bias.ref()])
        outputs = hidden @ before[head.kernel.ref()] + before[head.bias.ref()]
        flat = outputs if target.kind == "multiclass" else outputs[:, 0]
        loss, gradient = reference.masked_loss(target.kind, labels[target.name], flat, weights[target.name])
        losses.append(loss)
        gradient = gradient.reshape(outputs.shape)
        gradients[head.kernel.ref()], gradients[head.bias.ref()] = hidden.T @ gradient, gradient.sum(axis=0)
        back, ours = reference.dense_backward(
            gradient @ before[head.kernel.ref()].T, shared, hidden, before[layer.kernel.ref()]
        )
        gradients[layer.kernel.ref()], gradients[layer.bias.ref()] = ours
        at_shared += back
    at_x, ours = reference.dense_backward(at_shared, x, shared, kernel)
    gradients[bottom.kernel.ref()], gradients[bottom.bias.ref()] = ours
    at_rows = at_x[:, : model.embedding.width].reshape(*ids.shape, -1)
    gradients[model.embedding.table.ref()] = reference.table_gradient(ids, at_rows, len(table))

    third = {name: tf.constant(w, tf.float32) for name, w in weights.items()}
    assert float(model.compute_loss((features, targets, third))) == pytest.approx(sum(losses), rel=1e-5)
    after_a_step(model, (features, targets, third))
    assert len(gradients) == len(model.trainable_variables)
    for variable in model.trainable_variables:
        expected = before[variable.ref()] - 0.1 * gradients[variable.ref()]
        np.testing.assert_allclose(variable, expected, rtol=1e-4, atol=1e-6, err_msg=variable.name)


@pytest.mark.parametrize("model", [htl.HTLNet, htl.SharedBottom])
def test_masking_a_row_for_all_targets_equals_leaving_it_out(make_model: Build, batch: Any, model: Any) -> None:
    arguments = {"embedding_l2": 0.0, "gradient_metrics": True} | (
        {"label_embedding": "expected"} if model is htl.HTLNet else {}
    )
    for seed in range(3):
        kept = np.flatnonzero(np.random.default_rng(seed).random(64) < 0.6)
        weight = tf.constant(np.isin(np.arange(64), kept), tf.float32)
        masked, left_out = make_model(model, **arguments), make_model(model, **arguments)
        ours = after_a_step(masked, spoilt(batch, dict.fromkeys(NAMES, weight)))
        for a, b in zip(ours, after_a_step(left_out, rows_of(batch, kept)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        for name, value in left_out._results(training=True).items():
            assert float(masked._results(training=True)[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


def test_weights_of_one_change_nothing(make_model: Build, batch: Any) -> None:
    expected = after_a_step(make_model(label_embedding="expected"), batch)
    for weights in (tf.ones([64]), {"buy": tf.ones([64])}, {n: tf.ones([64, 1]) for n in NAMES}):
        for a, b in zip(after_a_step(make_model(label_embedding="expected"), (*batch, weights)), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_labels_of_masked_rows_play_no_part(make_model: Build, batch: Any) -> None:
    weights = random_weights(64)
    ours = after_a_step(make_model(label_embedding="expected"), spoilt(batch, weights))
    for a, b in zip(ours, after_a_step(make_model(label_embedding="expected"), (*batch, weights)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("absent", [["spend"], ["click"], ["click", "buy"], list(NAMES)])
@pytest.mark.parametrize(
    "adjustment", [GradientAdjustment(), GradientAdjustment(gamma=1.0), GradientSum(), PCGrad(), MetaBalance()]
)
def test_a_batch_without_a_label_leaves_its_tower_alone(
    make_model: Build, batch: Any, absent: list[str], adjustment: Any
) -> None:
    model = make_model(
        label_embedding="expected", gradient_adjustment=type(adjustment).from_config(adjustment.get_config())
    )
    before = {tower.name: [w.numpy() for w in tower.trainable_variables] for tower in model.towers}
    weights = {n: tf.zeros([64]) if n in absent else tf.ones([64]) for n in NAMES}
    after_a_step(model, spoilt(batch, weights))
    results = {name: float(value) for name, value in model._results(training=True).items()}
    for name, tower in zip(NAMES, model.towers, strict=True):
        for a, b in zip(before[tower.name], tower.trainable_variables, strict=True):
            assert np.isfinite(b).all()
            if name in absent:
                np.testing.assert_array_equal(a, b)
        assert (results[f"{name}_loss"] == 0) == (name in absent)
        assert (results[f"{name}_gradient_norm"] == 0) == (name in absent)
    assert np.isfinite(model.embedding.table).all()
    assert all(np.isfinite(value) for name, value in results.items() if "gradient" in name or "loss" in name)


@pytest.mark.parametrize(
    ("adjustment", "expected"),
    [
        (GradientAdjustment(gamma=0.5), [0.5, 0.5, 1.0]),
        (GradientAdjustment(gamma=1.0), [0.0, 0.0, 1.0]),
        (GradientSum(), [1.0, 1.0, 1.0]),
        (PCGrad(), [1.0, 1.0, 1.0]),
        (MetaBalance(relax=0.75), [0.25, 0.25, 1.0]),
        (MetaBalance(relax=0.75, strategy="enlarge"), [1.0, 1.0, 1.0]),
    ],
)
def test_coefficients_without_a_gradient_of_the_core(adjustment: Any, expected: list[float]) -> None:
    gram = tf.constant([[4.0, 1.0, 0.0], [1.0, 9.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(adjustment(gram), expected, rtol=1e-6)
    assert np.isfinite(adjustment(tf.zeros([3, 3]))).all()


def test_an_epoch_is_judged_over_its_observed_rows_however_they_fall_into_batches(
    reused_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    gaps = {"spend": frame["spend"].where(frame["buy"] == 1), "click": frame["click"].where(frame.index > 9)}
    rows = frame[:120].assign(**gaps)
    features, _ = next(iter(htl.data.make_dataset(frame[:120], schema, encoder, batch_size=120)))
    labels, weights = label_values(rows, schema)
    assert weights is not None
    everything = (features, {n: tf.constant(v, tf.float32) for n, v in labels.items()}, weights)
    order = np.argsort(-labels["spend"], kind="stable")  # all labels of the core come first
    model = reused_model(objective="squared")
    together = model.evaluate(batches(everything), return_dict=True, verbose=0)
    apart = model.evaluate(
        batches(*(rows_of(everything, part) for part in np.split(order, [50, 57, 110]))), return_dict=True, verbose=0
    )
    report = htl.evaluate(model, rows)
    for logs in (together, apart):
        assert logs["click_loss"] == pytest.approx(report.value("click", "logloss"), rel=1e-5)
        assert logs["spend_loss"] == pytest.approx(
            (report.value("spend", "rmse") / frame["spend"].std(ddof=0)) ** 2, rel=1e-5
        )
        assert logs["spend_nrmse"] == pytest.approx(report.value("spend", "nrmse"), rel=1e-5)
        assert logs["spend_nmae"] == pytest.approx(report.value("spend", "nmae"), rel=1e-5)
        assert logs["click_auc"] == pytest.approx(report.value("click", "auc"), abs=0.02)  # bucketed
        assert logs["loss"] == pytest.approx(logs["click_loss"] + logs["buy_loss"] + logs["spend_loss"], rel=1e-6)
    assert report.observed_rows == {"click": 110, "spend": int(rows["buy"].sum())}


def test_metrics_take_the_mask_and_losses_the_weights(reused_model: Build, batch: Any) -> None:
    model = reused_model()
    mask = np.arange(64) % 3 > 0
    once, twice, uneven = (mask * factor for factor in (1.0, 2.0, np.random.default_rng(0).choice([0.5, 1, 3], 64)))
    single, double, other = (
        model.evaluate(batches((*batch, dict.fromkeys(NAMES, tf.constant(w, tf.float32)))), return_dict=True, verbose=0)
        for w in (once, twice, uneven)
    )
    for name, value in single.items():
        is_loss = name.endswith("loss")
        # The relative loss is over that of the best constant, which a factor of all weights scales likewise.
        factor = 2 if is_loss and name != "relative_loss" else 1
        assert double[name] == pytest.approx(factor * value, rel=1e-5), name
        assert (other[name] == pytest.approx(value, rel=1e-5)) != is_loss, name


def test_fit_on_rows_with_gaps(
    reused_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    gaps = {n: frame[n].where(random.random(len(frame)) < 0.5) for n in NAMES}
    features, _ = next(iter(htl.data.make_dataset(frame, schema, encoder, batch_size=400)))
    labels, weights = label_values(frame.assign(**gaps), schema)
    labels["spend"] = labels["spend"].astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((features, labels, weights)).batch(64)
    nothing = dataset.map(lambda f, t, w: (f, t, tf.nest.map_structure(tf.zeros_like, w)))
    model, steps = reused_model(), GradientHistory()
    history = model.fit(dataset, validation_data=dataset, epochs=4, verbose=0, callbacks=[KeepBest(3), steps]).history
    assert all(np.isfinite(values).all() for name, values in history.items() if "loss" in name or "gradient" in name)
    assert history["loss"][-1] < history["loss"][0]
    assert model.evaluate(dataset, return_dict=True, verbose=0)["loss"] == pytest.approx(min(history["val_loss"]))
    assert len(steps.history["spend_gradient_norm"]) == 7 * len(history["loss"])
    assert "weighted_metrics" not in caplog.text
    # A split without a single label: losses of 0, and metrics that are undefined.
    history = model.fit(dataset, validation_data=nothing, epochs=1, verbose=0).history
    assert history["val_loss"] == history["val_spend_loss"] == [0.0]
    assert np.isnan(history["val_click_auc"][0])
    assert np.isnan(history["val_spend_nrmse"][0])


def test_class_weights_are_refused_and_sample_weights_of_fit_taken(
    make_model: Build, reused_model: Build, batch: Any
) -> None:
    features, targets = batch
    with pytest.raises(ValueError, match="class_weight"):
        make_model().fit(features, targets, class_weight={0: 1.0, 1: 2.0}, verbose=0)
    arguments = {"batch_size": 64, "shuffle": False, "verbose": 0}
    weights = random_weights(64)
    history = (
        reused_model(label_embedding="expected").fit(features, targets, sample_weight=weights, **arguments).history
    )
    expected = reused_model(label_embedding="expected").fit(batches((*batch, weights)), verbose=0).history
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_a_frame_with_gaps_conditions_and_weights_from_end_to_end(schema: htl.Schema, frame: pd.DataFrame) -> None:
    funnel = htl.Schema(
        features=schema.features,
        targets=[
            htl.Binary("click"),
            htl.Binary("buy", observed_if="click", sample_weight="importance"),
            htl.Continuous("spend", observed_if="buy"),
        ],
        sample_weight="share",
    )
    rows = frame.assign(
        click=frame["click"].astype("Int64").where(frame.index % 7 > 0), share=frame.index % 3, importance=2.5
    )
    encoder = htl.FeatureEncoder.fit(funnel, rows)
    # A purchase counts where the click before it was seen.
    bought = frame.loc[(frame["buy"] == 1) & (rows["click"] == 1).fillna(False).astype(bool), "spend"]
    assert encoder.statistics.labels["spend"].mean == pytest.approx(bought.mean())
    assert encoder.statistics.labels["spend"].std == pytest.approx(bought.std(ddof=0))
    dataset = htl.data.make_dataset(rows, funnel, encoder, batch_size=64, shuffle=True, seed=0)
    model = htl.HTLNet(funnel, encoder, tower_units=(8,))
    model.compile(optimizer=htl.LazyAdam(1e-2))
    history = model.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    clicks = int(rows["click"].sum())
    report = htl.evaluate(model, rows.drop(columns=["share", "importance"]))
    assert report.observed_rows == {"click": int(rows["click"].count()), "buy": clicks, "spend": len(bought)}
    with pytest.raises(htl.InputError, match="column 'buy' is missing"):
        htl.evaluate(model, rows.drop(columns="buy"))
