"""Adjustments inside a model: every kind trains, the core can be named, state is kept, bad steps are not applied."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.errors import NonFiniteError
from htlnet_tf.runs.callbacks import GradientHistory

Build = Callable[..., Any]


@pytest.mark.parametrize(
    "adjustment",
    [
        htl.GradientAdjustment(gamma=tf.keras.optimizers.schedules.ExponentialDecay(0.5, 5, 0.5)),
        htl.GradientSum(),
        htl.PCGrad(),
        htl.MetaBalance(),
        lambda gram: tf.linalg.diag_part(gram) / tf.linalg.trace(gram),
    ],
    ids=["scheduled", "sum", "pcgrad", "metabalance", "own function"],
)
# Of a model that takes one backward pass per target the pieces are in test_models.py; the product takes its time.
@pytest.mark.parametrize("model", [htl.HTLNet, pytest.param(htl.SharedBottom, marks=pytest.mark.slow)])
def test_every_adjustment_trains_every_model(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, adjustment: Any, model: Any
) -> None:
    built = make_model(model, gradient_adjustment=adjustment, gradient_metrics=True)
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=64, shuffle=True, seed=0)
    history = built.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_the_core_can_be_named(make_model: Build, batch: Any) -> None:
    """With `click` as the core, its coefficients are those of the Gram matrix with `click` last, put back in order."""
    seen: list[tf.Tensor] = []

    class Spy(htl.GradientAdjustment):
        def __call__(self, gram: tf.Tensor) -> tf.Tensor:
            seen.append(gram)
            return super().__call__(gram)

    model = make_model(gradient_adjustment=Spy(), core="click", label_embedding="expected")
    model.train_step(batch)
    plain: list[tf.Tensor] = []
    last = make_model(gradient_adjustment=lambda gram: plain.append(gram) or tf.ones([3]), label_embedding="expected")
    last.train_step(batch)
    order = [1, 2, 0]
    np.testing.assert_allclose(seen[0], plain[0].numpy()[np.ix_(order, order)], rtol=1e-5)
    statistics = model.gradient_statistics.last_step()
    assert statistics["click_gradient_cosine"] == pytest.approx(1.0, abs=1e-5)
    ordered = htl.GradientAdjustment()(seen[0]).numpy()
    assert statistics["click_gradient_coefficient"] == pytest.approx(ordered[2], rel=1e-5)
    assert statistics["buy_gradient_coefficient"] == pytest.approx(ordered[0], rel=1e-5)


def test_an_unknown_core_is_refused(make_model: Build) -> None:
    with pytest.raises(htl.InputError, match="core 'revenue' is not a target"):
        make_model(core="revenue")


def test_moving_averages_are_kept_by_a_checkpoint(make_model: Build, batch: Any, tmp_path: Path) -> None:
    model = make_model(gradient_adjustment=htl.MetaBalance(), label_embedding="expected")
    for _ in range(3):
        model.train_step(batch)
    model.save_weights(str(tmp_path / "w"))
    restored = make_model(gradient_adjustment=htl.MetaBalance(), label_embedding="expected")
    restored.load_weights(str(tmp_path / "w"))
    restored.train_step(batch)
    model.train_step(batch)
    ours, theirs = (m.gradient_adjustment._averages.numpy() for m in (model, restored))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_gradient_history_keeps_every_step_and_history_their_means(
    reused_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any
) -> None:
    steps = GradientHistory()
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=64)
    epochs = reused_model().fit(dataset, epochs=2, verbose=0, callbacks=[steps]).history
    assert len(steps.history["click_gradient_norm"]) == 14
    for name, values in steps.history.items():
        assert epochs[name] == pytest.approx([np.mean(values[:7]), np.mean(values[7:])], rel=1e-4, abs=1e-6)
    assert set(np.unique(steps.history["buy_gradient_conflict_rate"])) <= {0.0, 1.0}


def test_tensorboard_gets_every_step(
    make_model: Build, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, tmp_path: Path
) -> None:
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    board, steps = tf.keras.callbacks.TensorBoard(tmp_path, update_freq=1), GradientHistory()
    make_model().fit(dataset, epochs=2, verbose=0, callbacks=[board, steps])
    values: dict[str, list[float]] = {}
    for path in sorted((tmp_path / "train").glob("*events*")):
        for record in tf.data.TFRecordDataset(str(path)):
            for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value:
                values.setdefault(value.tag, []).append(
                    float(tf.make_ndarray(value.tensor)) if value.HasField("tensor") else 0
                )
    assert values["gradient_cosine/click"] == pytest.approx(steps.history["click_gradient_cosine"])
    assert len(values["gradient_conflict_rate/buy"]) == 8
    assert "gradient_conflict_rate/spend" not in values  # the core's conflict with itself
    assert len(values["epoch_click_gradient_norm"]) == 2


def poisoned(batch: Any, target: str = "spend") -> Any:
    features, targets = batch
    return features, targets | {target: targets[target] * float("nan")}


class TestNonFinite:
    def fit(self, model: Any, batches: list[Any], callbacks: Sequence[Any] = ()) -> dict[str, list[float]]:
        signature = tf.nest.map_structure(tf.TensorSpec.from_tensor, batches[0])
        dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
        return model.fit(dataset, epochs=1, verbose=0, callbacks=list(callbacks)).history

    @pytest.mark.parametrize("target", ["click", "spend"])
    def test_stops_with_the_target_and_the_step_before_anything_is_applied(
        self, reused_model: Build, batch: Any, target: str
    ) -> None:
        state = []
        for bad in ([poisoned(batch, target), batch], []):
            model = reused_model(label_embedding="expected")
            expected = (
                pytest.raises(NonFiniteError, match=rf"target '{target}': loss nan.*step 2;.*learning rate")
                if bad
                else contextlib.nullcontext()
            )
            with expected:
                self.fit(model, [batch, batch, *bad])
            # The level is no matter of a step: fit sets it at its end, which the first one does not reach.
            state.append([v.numpy() for v in (*model.trainable_variables, *model.optimizer.variables)])
        for a, b in zip(*state, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_a_model_with_shared_layers_blames_the_right_target(self, make_model: Build, batch: Any) -> None:
        model = make_model(htl.SharedBottom, gradient_metrics=True)
        model.compile(run_eagerly=True)
        with pytest.raises(NonFiniteError, match="target 'spend': loss nan"):
            self.fit(model, [batch, poisoned(batch)])

    def test_a_step_outside_of_fit_is_not_blamed_on_fit(self, reused_model: Build, batch: Any) -> None:
        model = reused_model()
        with pytest.raises(tf.errors.InvalidArgumentError):
            model.train_step(poisoned(batch))
        features, targets = batch
        with pytest.raises(tf.errors.InvalidArgumentError):
            self.fit(model, [(features | {"ids": features["ids"] + 10**6}, targets)])

    def test_gradient_history_marks_skipped_steps(self, reused_model: Build, batch: Any) -> None:
        model = reused_model(label_embedding="expected", on_nonfinite="skip")
        batches, steps = [poisoned(batch), batch, poisoned(batch), batch], GradientHistory()
        self.fit(model, batches, [steps])
        assert np.isnan(steps.history["spend_gradient_norm"]).tolist() == [True, False, True, False]

    def test_an_exploding_step_is_told_by_its_target(self, reused_model: Build, batch: Any) -> None:
        model = reused_model()
        model.towers[1].head.bias.assign([float("inf")])
        with pytest.raises(NonFiniteError, match="target 'buy'"):
            self.fit(model, [batch])

    def test_skip_leaves_the_step_out_and_counts_it(self, make_model: Build, reused_model: Build, batch: Any) -> None:
        bad = poisoned(batch)
        balanced = make_model(label_embedding="expected", on_nonfinite="skip", gradient_adjustment=htl.MetaBalance())
        for model in (reused_model(label_embedding="expected", on_nonfinite="skip"), balanced):
            history = self.fit(model, [batch, bad, batch, bad])
            assert history["skipped_steps"] == [2.0]
            assert all(np.isfinite(values).all() for values in history.values())
            assert int(model.optimizer.iterations) == 2
        good = make_model(label_embedding="expected", gradient_adjustment=htl.MetaBalance())
        self.fit(good, [batch, batch])
        for a, b in zip(balanced.trainable_variables, good.trainable_variables, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)

    def test_other_errors_are_left_alone(self, reused_model: Build, batch: Any) -> None:
        features, targets = batch
        wrong = (features | {"ids": features["ids"] + 10**6}, targets)
        with pytest.raises(tf.errors.InvalidArgumentError):
            self.fit(reused_model(), [wrong])

    def test_the_policy_is_checked(self, make_model: Build) -> None:
        with pytest.raises(ValueError, match="on_nonfinite must be"):
            make_model(on_nonfinite="ignore")
