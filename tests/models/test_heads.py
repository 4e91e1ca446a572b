"""What a model keeps of one target: the loss with masks and weights for every objective, and the level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.encoding.label_counting import LabelCounter
from htlnet_tf.models.heads import Head, Level
from tests.objectives.references import CASES, TRAINING, Case

Build = Callable[..., Any]


def head_of(case: Case, **declared: Any) -> Head:
    """The head of a target `a` of a model that was trained on `TRAINING`."""
    counter = LabelCounter()
    counter.update(TRAINING)
    target = htl.Continuous("a", objective=case.objective, non_negative=case.non_negative, **declared)
    return Head(target, cast(Any, SimpleNamespace(labels={"a": counter.statistics()})))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_masks_and_weights_of_every_objective(case: Case) -> None:
    # Expected: the float64 references' losses times the weights, over the rows whose weight is not 0.
    head, random = head_of(case), np.random.default_rng(0)
    weights = random.choice([0.0, 0.5, 1.0, 2.0], len(TRAINING))
    outputs = random.normal(0.0, 1.5, [len(TRAINING), head.num_outputs])
    taking = weights > 0
    assert 0 < taking.sum() < len(TRAINING)
    expected = (weights * np.where(taking, case.loss(TRAINING, outputs), 0.0)).sum() / taking.sum()
    labels = tf.constant(np.where(taking, TRAINING, np.nan), tf.float32)
    spoilt = np.where(taking[:, np.newaxis], outputs, np.inf)
    given = tf.constant(spoilt if head.num_outputs > 1 else spoilt[:, 0], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = head.row_losses(labels, given, tf.constant(weights, tf.float32)).mean()
    assert float(loss) == pytest.approx(expected, rel=2e-5)
    gradient = np.reshape(tape.gradient(loss, given), outputs.shape)
    assert np.isfinite(gradient).all()
    assert (gradient[~taking] == 0).all() and (gradient[taking] != 0).any(axis=1).all()
    # What is judged and what the level is taken from leave these rows out, too.
    for training in (True, False):
        rows = tf.constant(weights, tf.float32)
        head.update_metrics(labels, given, rows, head.row_losses(labels, given, rows), training=training)
    clean = tf.constant(outputs if head.num_outputs > 1 else outputs[:, 0], tf.float32)
    predictions = head.predict(clean).numpy()[taking]
    error = np.sqrt(np.mean((predictions - TRAINING[taking]) ** 2))
    assert float(head.judged[0].result()) == pytest.approx(error / TRAINING[taking].std(), rel=1e-4)
    if head.level is not None:
        head.update_level(labels, given, tf.constant(weights, tf.float32))
        predicted, actual = weights[taking] @ predictions, weights[taking] @ TRAINING[taking]
        assert head.level.settle() == pytest.approx(actual / predicted, rel=1e-5)
        assert weights[taking] @ head.predict(clean).numpy()[taking] == pytest.approx(actual, rel=1e-5)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_judged_loss_is_a_squared_error_whatever_is_trained(case: Case) -> None:
    # Relative to the best constant's it is NRMSE squared, so that early stopping does not compare a density with it.
    head = head_of(case)
    outputs = tf.constant(np.random.default_rng(1).normal(0.0, 1.0, [len(TRAINING), head.num_outputs]), tf.float32)
    outputs = outputs if head.num_outputs > 1 else outputs[:, 0]
    labels = tf.constant(TRAINING, tf.float32)
    head.update_metrics(labels, outputs, None, head.row_losses(labels, outputs, None), training=False)
    ratio = float(head.judged_loss.result()) / float(head.constant_loss.result())
    assert ratio == pytest.approx(float(head.judged[0].result()) ** 2, rel=1e-4)


@pytest.mark.parametrize(
    ("labels", "predictions", "factor"),
    [
        ([1.0, 5.0], [2.0, 1.0], 2.0),
        ([0.0, 0.0], [2.0, 1.0], 1.0),  # no amount at all says nothing
        ([1.0, 5.0], [0.0, 0.0], 1.0),
        ([1e6], [1.0], 1e3),
        ([1.0], [1e6], 1e-3),
        ([], [], 1.0),
    ],
)
def test_a_level_by_hand(labels: list[float], predictions: list[float], factor: float) -> None:
    level = Level(name="level")
    level.factor.assign(7.0)
    level.sums.update_state(tf.constant(labels, tf.float32), tf.constant(predictions, tf.float32))
    assert level.settle() == pytest.approx(factor)
    np.testing.assert_allclose(level(tf.constant([2.0])), [2.0 * factor])


def test_which_targets_have_a_level() -> None:
    for declared, has in (({}, True), ({"level": False}, False), ({"non_negative": False}, False)):
        head = head_of(
            Case(None, cast(Any, None), bool(declared.get("non_negative", True))),
            **{  # type: ignore[arg-type]
                key: value for key, value in declared.items() if key != "non_negative"
            },
        )
        assert (head.level is not None) is has


class TestFitLevel:
    """Models run eagerly: nothing is traced."""

    @pytest.fixture
    def model(self, make_model: Build) -> Any:
        model = make_model(htl.SharedBottom, bottom_units=(8,))
        model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
        return model

    @pytest.fixture
    def dataset(self, schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> tf.data.Dataset:
        return htl.data.make_dataset(frame, schema, encoder, batch_size=100)

    def ratio(self, model: Any, frame: pd.DataFrame, weights: Any = 1.0) -> float:
        """Total predicted over total actual."""
        return float((weights * htl.predict(model, frame)["spend"]).sum() / (weights * frame["spend"]).sum())

    def test_fit_ends_with_the_total_of_the_training_rows(
        self, model: Any, dataset: Any, frame: pd.DataFrame, tmp_path: Path
    ) -> None:
        history = model.fit(dataset, epochs=2, verbose=0).history
        level = model.heads["spend"].level
        assert float(level.factor) != 1.0
        assert self.ratio(model, frame) == pytest.approx(1.0, rel=1e-5)
        # What fit has shown last can be read on.
        assert float(model._total_loss.result()) == pytest.approx(history["loss"][-1])
        assert float(model.heads["spend"].judged[0].result()) == pytest.approx(history["spend_nrmse"][-1])
        model.save_weights(str(tmp_path / "w"))
        restored = htl.SharedBottom(model.schema, model.encoder, tower_units=(16, 8), bottom_units=(8,))
        restored.load_weights(str(tmp_path / "w")).expect_partial()
        assert float(restored.heads["spend"].level.factor) == float(level.factor)
        np.testing.assert_array_equal(htl.predict(restored, frame), htl.predict(model, frame))
        # Fitted again, on other rows, it is no factor on the factor.
        assert model.fit_level(dataset)["spend"] == pytest.approx(float(level.factor), rel=1e-6)
        model.fit_level(htl.data.make_dataset(frame[:150], model.schema, model.encoder, batch_size=64))
        assert self.ratio(model, frame[:150]) == pytest.approx(1.0, rel=1e-5)
        # And the ordinary evaluation is as ever.
        assert "relative_loss" in model.evaluate(dataset, return_dict=True, verbose=0)

    def test_weights_and_masks(self, model: Any, dataset: Any, frame: pd.DataFrame) -> None:
        features, targets = next(iter(dataset.unbatch().batch(400)))
        weights = np.random.default_rng(0).choice([0.0, 0.5, 2.0], 400).astype(np.float32)
        labels = targets | {"spend": tf.where(weights == 0, np.nan, tf.cast(targets["spend"], tf.float32))}
        model.fit(features, labels, sample_weight={"spend": weights}, batch_size=100, epochs=1, verbose=0)
        assert self.ratio(model, frame, weights) == pytest.approx(1.0, rel=1e-5)
        assert abs(self.ratio(model, frame) - 1.0) > 1e-3

    def test_rows_that_keras_takes_for_validation_are_left_out(
        self, model: Any, dataset: Any, frame: pd.DataFrame
    ) -> None:
        features, targets = next(iter(dataset.unbatch().batch(400)))
        model.fit(features, targets, batch_size=100, validation_split=0.25, verbose=0)
        assert self.ratio(model, frame[:300]) == pytest.approx(1.0, rel=1e-5)

    @pytest.mark.parametrize("known", [True, False])
    def test_rows_without_an_end(self, model: Any, dataset: Any, frame: pd.DataFrame, known: bool) -> None:
        endless = dataset.repeat()
        if not known:
            endless = endless.filter(lambda features, targets: True)
            assert endless.cardinality() == tf.data.UNKNOWN_CARDINALITY
        model.fit(endless, steps_per_epoch=4, verbose=0)
        assert self.ratio(model, frame) == pytest.approx(1.0, rel=1e-5)

    def test_an_iterator_cannot_be_read_twice(self, model: Any, dataset: Any, caplog: pytest.LogCaptureFixture) -> None:
        model.fit((batch for batch in dataset), verbose=0)
        assert float(model.heads["spend"].level.factor) == 1.0
        assert "cannot be read twice: call model.fit_level(dataset)" in caplog.text


def test_several_amounts_in_one_funnel(frame: pd.DataFrame, batch: Any) -> None:
    """An amount may stand before the core; each has its objective, its level and its metrics."""
    schema = htl.Schema(
        features=[htl.Categorical("user_id"), htl.Categorical("item_id")],
        targets=[
            htl.Binary("click"),
            htl.Continuous("watch", unit="s", objective="squared", after=("click",)),
            htl.Binary("buy", after=("click",)),
            htl.Continuous("spend", unit="EUR", objective="ziln", after=("click", "buy")),
        ],
    )
    rows = frame.assign(watch=frame["price"] * (1 + frame["click"]))
    encoder = htl.FeatureEncoder.fit(schema, rows)
    assert encoder.statistics.labels["watch"].mean == pytest.approx(rows["watch"].mean())
    dataset = htl.data.make_dataset(rows, schema, encoder, batch_size=200)
    for kind in (htl.HTLNet, htl.ESMM):
        tf.keras.utils.set_random_seed(0)
        model = kind(schema, encoder, tower_units=(8,))
        model.compile(optimizer=htl.LazyAdam(1e-2), run_eagerly=True)
        history = model.fit(dataset, epochs=4, verbose=0).history
        assert history["watch_loss"][-1] < history["watch_loss"][0]
        assert {"watch_nrmse", "spend_nrmse"} <= set(history)
        scores = htl.predict(model, rows)
        assert list(scores.columns) == ["click", "watch", "buy", "spend"]
        for name in ("watch", "spend"):
            assert scores[name].sum() == pytest.approx(rows[name].sum(), rel=1e-5)
        report = htl.evaluate(model, rows)
        assert report.value("watch", "level") == pytest.approx(1.0, rel=1e-5)
        assert report.value("watch", "negative_share") == 0.0
    # What a target is not learned after, its tower does not read.
    model = htl.HTLNet(schema, encoder, tower_units=(8,), label_embedding="expected")
    x = model.shared_input(model.embedding(tf.zeros([3, encoder.num_slots], tf.int32)), {"numeric": tf.zeros([3, 0])})
    before = model.task_outputs([x] * 4, training=False)
    for weight in model.towers[1].weights:
        weight.assign(weight + 1.0)
    after = model.task_outputs([x] * 4, training=False)
    assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True, True]
