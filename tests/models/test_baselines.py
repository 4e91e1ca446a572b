"""The defining property of each baseline, and that each behaves as any model of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import MODELS
from htlnet_tf.models.esmm import logit_of_both
from tests.layers.experts_reference import run_experts, run_gate

Build = Callable[..., Any]
BASELINES = sorted(set(MODELS) - {"htlnet"})


def shared_input(model: Any, batch: Any) -> tf.Tensor:
    features, _ = batch
    return model.shared_input(model.embedding(features["ids"]), features)


def outputs_and_losses(model: Any, batch: Any) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    shared = shared_input(model, batch)
    outputs = model.task_outputs([shared] * 3, training=True)
    return outputs, model._task_losses(batch[1], outputs)


def run_tower(tower: Any, x: np.ndarray) -> np.ndarray:
    for layer in tower.hidden:
        x = np.maximum(x @ layer.kernel.numpy().astype(np.float64) + layer.bias.numpy(), 0.0)
    return (x @ tower.head.kernel.numpy().astype(np.float64) + tower.head.bias.numpy())[:, 0]


def reached(tape: tf.GradientTape, loss: tf.Tensor, layer: Any) -> bool:
    gradients = [g for g in tape.gradient(loss, layer.trainable_variables) if g is not None]
    return any(float(tf.reduce_sum(tf.abs(g))) > 0 for g in gradients)


@pytest.fixture(scope="module")
def trained(request: pytest.FixtureRequest, schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> Any:
    """By its name, a model and its losses per epoch under a mirrored strategy: trained once for all that is asked."""
    tf.keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(["/CPU:0"]).scope():
        model = MODELS[request.param](schema, encoder, tower_units=(16, 8))
        model.compile(optimizer=htl.LazyAdam(1e-2))
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    return model, model.fit(dataset, epochs=3, verbose=0).history["loss"]


def each(names: Iterable[str]) -> list[Any]:
    """As parameters. A fit and an export take seconds: of the baselines one is for every day; all take a step below."""
    daily = ("htlnet", "shared_bottom")
    return [name if name in daily else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("trained", each(sorted(MODELS)), indirect=True)
def test_trains_under_a_mirrored_strategy(trained: Any) -> None:
    _, losses = trained
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("trained", each(BASELINES), indirect=True)
def test_saves_predicts_and_exports(trained: Any, make_model: Build, frame: pd.DataFrame, tmp_path: Path) -> None:
    model, _ = trained
    scores = htl.predict(model, frame[:50])
    assert list(scores.columns) == ["click", "buy", "spend"]
    assert scores[["click", "buy"]].stack().between(0, 1).all()
    model.save_weights(str(tmp_path / "weights"))
    again = make_model(type(model))
    again.load_weights(str(tmp_path / "weights")).expect_partial()
    pd.testing.assert_frame_equal(htl.predict(again, frame[:50]), scores)
    exported = htl.export.export_model(again, tmp_path / "models" / "m", rows=frame[:50])
    assert exported.largest_difference <= 1e-5


@pytest.mark.parametrize("name", BASELINES)
def test_a_step_is_ordinary_training_and_its_independence_is_true(name: str, make_model: Build, batch: Any) -> None:
    """The plain backward pass against the sum of per-task gradients; the latter checks a claimed independence."""
    after = []
    for gradient_metrics in (False, True):
        model = make_model(MODELS[name], gradient_metrics=gradient_metrics)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
        model.train_step(batch)
        after.append([w.numpy() for w in model.trainable_variables])
    for a, b in zip(*after, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert MODELS[name].independent_towers == (name == "single_task")


class TestSingleTask:
    def test_no_target_learns_from_another_s_labels(self, make_model: Build, batch: Any) -> None:
        features, targets = batch
        other = (features, targets | {"buy": 1 - targets["buy"], "spend": targets["spend"][::-1]})
        scores = []
        for data in (batch, other):
            model = make_model(MODELS["single_task"], embedding_l2=1e-3)
            for _ in range(5):
                model.train_step(data)
            scores.append(model(features))
        np.testing.assert_array_equal(scores[0]["click"], scores[1]["click"])
        assert not np.allclose(scores[0]["buy"], scores[1]["buy"])

    def test_a_tower_reads_its_own_columns_of_every_table(self, schema: htl.Schema, frame: pd.DataFrame) -> None:
        """By hand: the columns [t * d, (t + 1) * d) of each field, with two widths, and all the numbers."""
        features = [htl.Categorical("tab", embedding_dim=2), htl.Categorical("user_id"), htl.Numeric("age")]
        narrow = htl.Schema(features=features, targets=schema.targets)
        encoder = htl.FeatureEncoder.fit(narrow, frame)
        model = htl.SingleTask(narrow, encoder, embedding_dim=3, tower_units=(4,))
        assert sorted(int(table.shape[1]) for table in model.embedding.tables) == [6, 9]
        view = tf.range(16.0)[tf.newaxis]  # the fields of 3 * d columns, table by table, and the number
        widths = [int(table.shape[1]) // 3 for table in model.embedding.tables]
        for t in range(3):
            second = 3 * widths[0]
            expected = [
                *range(t * widths[0], (t + 1) * widths[0]),
                *range(second + t * widths[1], second + (t + 1) * widths[1]),
                15,
            ]
            assert model._own(view, t).numpy().tolist() == [expected]


class TestMMoE:
    def test_gates_sum_to_one_and_the_forward_pass_is_numpy_s(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["mmoe"], num_experts=3, expert_units=(6,))
        x = shared_input(model, batch)
        outputs = model.task_outputs([x] * 3, training=False)
        x64 = x.numpy().astype(np.float64)
        experts = run_experts(model.experts, x64)
        for gate, tower, output in zip(model.gates, model.towers, outputs, strict=True):
            np.testing.assert_allclose(gate.weights_of(x).numpy().sum(axis=1), 1.0, rtol=1e-6)
            np.testing.assert_allclose(output, run_tower(tower, run_gate(gate, x64, experts)), rtol=1e-4, atol=1e-5)
        assert not np.allclose(model.gates[0].weights_of(x), model.gates[1].weights_of(x))

    def test_every_loss_reaches_the_experts(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["mmoe"])
        with tf.GradientTape(persistent=True) as tape:
            _, losses = outputs_and_losses(model, batch)
        assert all(reached(tape, loss, model.experts) for loss in losses)


class TestPLE:
    def test_the_last_level_s_task_experts_get_no_gradient_from_other_tasks(
        self, make_model: Build, batch: Any
    ) -> None:
        model = make_model(MODELS["ple"], level_units=(8, 6))
        with tf.GradientTape(persistent=True) as tape:
            _, losses = outputs_and_losses(model, batch)
        first, last = model.levels
        for t, loss in enumerate(losses):
            assert [reached(tape, loss, experts) for experts in last.task_experts] == [s == t for s in range(3)]
            assert reached(tape, loss, last.shared_experts)
            # The shared gate of the level below mixes every target's experts.
            assert all(reached(tape, loss, experts) for experts in [*first.task_experts, first.shared_experts])

    def test_of_one_level_it_is_cgc(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["ple"], level_units=(8,))
        with tf.GradientTape(persistent=True) as tape:
            _, losses = outputs_and_losses(model, batch)
        (level,) = model.levels
        assert level.shared_gate is None
        for t, loss in enumerate(losses):
            assert [reached(tape, loss, experts) for experts in level.task_experts] == [s == t for s in range(3)]


class TestAdaTT:
    def test_without_gates_only_the_native_expert_is_left(self, make_model: Build, batch: Any) -> None:
        """A gate that puts all its weight on a dead expert leaves the residual: the forward pass is f_t's alone."""
        model = make_model(MODELS["adatt"], level_units=(8,))
        x = shared_input(model, batch).numpy().astype(np.float64)
        x[:, 0] = 1.0
        (level,) = model.levels
        for weight in level.experts[2].trainable_variables:
            weight.assign(tf.zeros_like(weight))
        for gate in level.gates:
            gate.logits.kernel.assign(np.eye(x.shape[1])[:, :1] @ [[0.0, 0.0, 200.0]])
        outputs = model.task_outputs([tf.constant(x, tf.float32)] * 3, training=False)
        for t, (tower, output) in enumerate(zip(model.towers, outputs, strict=True)):
            native = run_experts(level.experts[t], x)[:, 0]
            np.testing.assert_allclose(output, run_tower(tower, native), rtol=1e-4, atol=1e-5)

    def test_several_experts_train(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["adatt"], num_experts=2)
        first = float(model.train_step(batch)["loss"])
        model.fit(tf.data.Dataset.from_tensors(batch).repeat(30), verbose=0)  # so many steps are faster in a graph
        model.reset_metrics()
        assert float(model.test_step(batch)["loss"]) < first


class TestESMM:
    def test_predictions_are_products_along_the_funnel(
        self, make_model: Build, batch: Any, frame: pd.DataFrame
    ) -> None:
        model = make_model(MODELS["esmm"], objective="poisson")
        features, _ = batch
        x = shared_input(model, batch).numpy().astype(np.float64)
        click, buy, amount = (run_tower(tower, x) for tower in model.towers)
        p_ctr, p_cvr = 1 / (1 + np.exp(-click)), 1 / (1 + np.exp(-buy))
        amount = frame["spend"].mean() * np.exp(amount)
        scores = model(features)
        np.testing.assert_allclose(scores["click"], p_ctr, rtol=1e-4)
        np.testing.assert_allclose(scores["buy"], p_ctr * p_cvr, rtol=1e-4)
        np.testing.assert_allclose(scores["spend"], p_ctr * p_cvr * amount, rtol=1e-4, atol=1e-4)

    def test_later_losses_reach_the_towers_of_earlier_steps(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["esmm"])
        with tf.GradientTape(persistent=True) as tape:
            _, losses = outputs_and_losses(model, batch)
        for t, loss in enumerate(losses):
            assert [reached(tape, loss, tower) for tower in model.towers] == [s <= t for s in range(3)]

    @pytest.mark.parametrize("a", [-80.0, -3.0, 0.0, 2.0, 40.0])
    @pytest.mark.parametrize("b", [-80.0, -0.5, 1.0, 40.0])
    def test_the_logit_of_a_product_is_stable(self, a: float, b: float) -> None:
        """log(p q / (1 - p q)) with 1 - p q = (1 - p) + p (1 - q), all from log1p(exp()) in float64."""
        log_product = -np.logaddexp(0, -a) - np.logaddexp(0, -b)
        log_rest = np.logaddexp(-np.logaddexp(0, a), -np.logaddexp(0, -a) - np.logaddexp(0, b))
        first, second = tf.constant([a]), tf.constant([b])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([first, second])
            logit = logit_of_both(first, second)
        np.testing.assert_allclose(logit, [log_product - log_rest], rtol=1e-5, atol=1e-6)
        for gradient in tape.gradient(logit, [first, second]):
            assert 0 <= float(gradient[0]) <= 1 + 1e-6

    def test_conditional_and_multiclass_targets(self, schema: htl.Schema, frame: pd.DataFrame) -> None:
        """A product begins after `observed_if`, and a multiclass target is part of none."""
        targets = [
            htl.Binary("click"),
            htl.Multiclass("stars", num_classes=3),
            htl.Binary("buy", observed_if="click"),
            htl.Continuous("spend", observed_if="buy"),
        ]
        rows = frame.assign(stars=np.arange(len(frame)) % 3)
        funnel = htl.Schema(features=schema.features, targets=targets)
        encoder = htl.FeatureEncoder.fit(funnel, rows)
        model = htl.ESMM(funnel, encoder, tower_units=(8,))
        x = tf.random.normal([4, model.embedding.width + encoder.num_numeric])
        outputs = model.task_outputs([x] * 4, training=False)
        for output, tower in zip(outputs, model.towers, strict=True):
            np.testing.assert_array_equal(output, tower(x)[1])


class TestAITM:
    def test_attention_over_two_inputs_against_numpy(self, make_model: Build, batch: Any) -> None:
        model = make_model(MODELS["aitm"])
        x = shared_input(model, batch)
        outputs = model.task_outputs([x] * 3, training=False)
        fused = None
        for t in range(3):
            own = model.towers[t](x).numpy().astype(np.float64)
            if fused is None:
                fused = own
            else:
                transfer = model.transfers[t - 1]
                taken = np.maximum(fused @ transfer.kernel.numpy().astype(np.float64) + transfer.bias.numpy(), 0.0)
                w_v, w_k, w_q = np.split(model.fusions[t - 1].kernel.numpy().astype(np.float64), 3, axis=1)
                both = np.stack([taken, own], axis=1)
                scores = np.exp(((both @ w_k) * (both @ w_q)).sum(axis=2) / np.sqrt(both.shape[2]))
                weights = scores / scores.sum(axis=1, keepdims=True)
                fused = (weights[:, :, np.newaxis] * (both @ w_v)).sum(axis=1)
            expected = fused @ model.outputs_of[t].kernel.numpy() + model.outputs_of[t].bias.numpy()
            np.testing.assert_allclose(outputs[t], expected[:, 0], rtol=1e-4, atol=1e-5)

    def test_the_calibrator_s_loss_by_hand(self, make_model: Build, batch: Any) -> None:
        """p = (0.5, 0.75), (0.5, 0.25), (0.5, 0.9): max(p_2 - p_1, 0) = 0.25, 0, 0.4; the third row may be masked."""
        model = make_model(MODELS["aitm"], calibrator=0.6)
        plain = make_model(MODELS["aitm"], calibrator=0.0)
        outputs = [tf.zeros([3]), tf.constant(np.log([3.0, 1 / 3, 9.0]), tf.float32), tf.zeros([3])]
        ((name, excess),) = model.auxiliary_losses(outputs).items()
        assert name == "buy"
        np.testing.assert_allclose(excess.values, [0.15, 0.0, 0.24], atol=1e-6)
        assert plain.auxiliary_losses(outputs) == {}
        targets = {"click": tf.zeros([3]), "buy": tf.zeros([3]), "spend": tf.zeros([3])}
        masks = {"buy": tf.constant([1.0, 2.0, 0.0])}
        for weights, expected in ((None, 0.6 * 0.65 / 3), (masks, 0.6 * 0.25 / 2)):
            losses = zip(
                model._task_losses(targets, outputs, weights),
                plain._task_losses(targets, outputs, weights),
                strict=True,
            )
            assert [float(a - b) for a, b in losses] == pytest.approx([0.0, expected, 0.0], abs=1e-6)

    def test_the_calibrator_trains_and_does_not_show(self, make_model: Build, batch: Any) -> None:
        """Labels that break the order: buy where there is no click. The calibrator keeps buy from rising above it."""
        features, targets = batch
        broken = (features, targets | {"click": 0 * targets["click"], "buy": 0 * targets["buy"] + 1})
        excess, first = {}, {}
        for weight in (0.0, 20.0):
            model = make_model(MODELS["aitm"], calibrator=weight)
            first[weight] = float(model.test_step(broken)["loss"])
            model.fit(tf.data.Dataset.from_tensors(broken).repeat(20), verbose=0)  # faster in a graph
            scores = model(features)
            excess[weight] = float(tf.reduce_mean(tf.nn.relu(scores["buy"] - scores["click"])))
        assert first[0.0] == first[20.0]
        assert excess[20.0] < 0.1 < excess[0.0]

    def test_a_conditional_step_has_no_order(self, schema: htl.Schema, frame: pd.DataFrame) -> None:
        targets = [htl.Binary("click"), htl.Binary("buy", observed_if="click"), htl.Continuous("spend")]
        funnel = htl.Schema(features=schema.features, targets=targets)
        model = htl.AITM(funnel, htl.FeatureEncoder.fit(funnel, frame), tower_units=(8,))
        assert model.auxiliary_losses([tf.zeros([2])] * 3) == {}
        with pytest.raises(ValueError, match="calibrator must not be negative"):
            htl.AITM(funnel, model.encoder, calibrator=-1.0)
