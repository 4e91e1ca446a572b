"""The marginal form: true labels in training, the law of total expectation in serving, against NumPy in float64."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.labels import label_values

STEPS = {"click": 2, "stars": 3, "buy": 2, "repeat": 2}
CONDITIONS = {"click": [], "stars": [], "buy": ["click"], "repeat": ["click", "buy"], "spend": []}
Labels = dict[str, np.ndarray]


def funnel(*, after: Any = None, observed_if: str | None = None) -> htl.Schema:
    return htl.Schema(
        features=[htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")],
        targets=[
            htl.Binary("click"),
            htl.Multiclass("stars", num_classes=3),
            htl.Binary("buy", observed_if="click"),
            htl.Binary("repeat", observed_if="buy"),
            htl.Continuous("spend", after=after, observed_if=observed_if),
        ],
    )


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame) -> pd.DataFrame:
    random = np.random.default_rng(2)
    return frame.assign(stars=random.integers(0, 3, len(frame)), repeat=random.integers(0, 2, len(frame)))


def build(schema: htl.Schema, rows: pd.DataFrame, **arguments: Any) -> tuple[Any, dict[str, tf.Tensor]]:
    """A model whose weights are far from their start, and 12 encoded rows."""
    tf.keras.utils.set_random_seed(1)
    encoder = htl.FeatureEncoder.fit(schema, rows)
    model = htl.HTLNet(schema, encoder, embedding_dim=3, tower_units=(6, 5), fusion_width=4, **arguments)
    for weight in model.trainable_variables:
        weight.assign(tf.random.normal(weight.shape, stddev=0.6))
    return model, {key: tf.constant(values) for key, values in encoder.encode(rows[:12]).items()}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def fused(unit: Any, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    kernel = unit.kernel.numpy().astype(np.float64)
    if len(inputs) == 1:
        return inputs[0] @ kernel[:, : unit.width], np.ones([len(inputs[0]), 1])
    w_v, w_k, w_q = np.split(kernel, 3, axis=1)
    weights = softmax(np.stack([((u @ w_k) * (u @ w_q)).sum(axis=1) for u in inputs], axis=1) / np.sqrt(unit.width))
    return sum(weights[:, [i]] * (u @ w_v) for i, u in enumerate(inputs)), weights


def towers(model: Any, x: np.ndarray, labels: Labels, seen: Labels) -> tuple[Labels, Labels, np.ndarray]:
    """Every tower's output where the steps have these labels [B] and count where `seen`; the steps' probabilities
    [B, K]; and what the core's attention over label embeddings comes to."""
    outputs: Labels = {}
    probabilities: Labels = {}
    representations: Labels = {}
    embedded: Labels = {}
    attention = np.empty(0)
    for t, target in enumerate(model.schema.targets):
        reads = [n for n in outputs if target.after is None or n in target.after]
        h = [x]
        if reads:
            h.append(fused(model.representation_fusions[t], [representations[n] for n in reads])[0])
            of_labels, attention = fused(model.label_fusions[t], [embedded[n] for n in reads])
            h.append(of_labels)
        activation = np.concatenate(h, axis=1)
        for i, layer in enumerate(model.towers[t].hidden):
            activation = np.maximum(activation @ layer.kernel.numpy() + layer.bias.numpy(), 0.0)
            if i == 0:
                representations[target.name] = activation
        head = model.towers[t].head
        output = activation @ head.kernel.numpy() + head.bias.numpy()
        outputs[target.name] = output
        if target.name in STEPS:
            p = softmax(np.concatenate([np.zeros_like(output), output], axis=1) if output.shape[1] == 1 else output)
            probabilities[target.name] = p
            one_hot = np.eye(STEPS[target.name])[labels[target.name]]
            weights = np.where(seen[target.name][:, np.newaxis], one_hot, p)
            embedded[target.name] = weights @ model.label_embeddings[target.name].table.numpy().astype(np.float64)
    return outputs, probabilities, attention


def expectations(model: Any, x: np.ndarray) -> tuple[Labels, np.ndarray]:
    """E[y | x] per target, and the core's mean attention, by going through all states of the funnel."""
    totals: dict[str, Any] = dict.fromkeys((*STEPS, "spend"), 0.0)
    masses: dict[str, Any] = dict.fromkeys((*STEPS, "spend"), 0.0)
    attended: Any = 0.0
    scale = model.heads["spend"].objective.units.scale
    core = model.schema.core
    conditions = CONDITIONS | {
        "spend": [*CONDITIONS.get(str(core.observed_if), []), core.observed_if] if core.observed_if else []
    }
    for values in itertools.product(*(range(k) for k in STEPS.values())):
        state = dict(zip(STEPS, values, strict=True))
        labels = {n: np.full(len(x), value) for n, value in state.items()}
        counts = {n: all(state[c] == 1 for c in conditions[n]) for n in totals}
        outputs, p, attention = towers(model, x, labels, {n: np.full(len(x), counts[n]) for n in STEPS})
        weight = np.prod([p[n][:, value] for n, value in state.items()], axis=0)
        predictions = p | {"spend": np.exp(outputs["spend"]) * scale}
        for n, prediction in predictions.items():
            totals[n] = totals[n] + (weight * counts[n])[:, np.newaxis] * prediction
            masses[n] = masses[n] + weight * counts[n]
        attended = attended + (weight * counts["spend"])[:, np.newaxis] * attention
    return {n: totals[n] / masses[n][:, np.newaxis] for n in totals}, attended / masses["spend"][:, np.newaxis]


def shared(model: Any, features: Any) -> tf.Tensor:
    return model.shared_input(model.embedding(features["ids"]), features)


@pytest.mark.parametrize(
    "declared",
    [{}, {"after": ("click", "repeat")}, {"observed_if": "repeat"}],
    ids=str,
)
def test_serving_is_the_expectation_over_the_states(declared: dict[str, Any], rows: pd.DataFrame) -> None:
    model, features = build(funnel(**declared), rows)
    expected, attention = expectations(model, shared(model, features).numpy().astype(np.float64))
    scores = model(features)
    np.testing.assert_allclose(scores["stars"], expected["stars"], rtol=1e-4)
    for name in ("click", "buy", "repeat"):
        np.testing.assert_allclose(scores[name], expected[name][:, 1], rtol=1e-4)
    np.testing.assert_allclose(scores["spend"], expected["spend"][:, 0], rtol=1e-4)
    if attention.shape[1] > 1:
        np.testing.assert_allclose(model.attention_weights(features)["spend"]["label"], attention, rtol=1e-4)


def test_training_reads_the_true_labels(rows: pd.DataFrame) -> None:
    schema = funnel()
    model, features = build(schema, rows)
    gaps = rows[:12].assign(stars=rows["stars"][:12].where(np.arange(12) % 3 > 0))
    labels, weights = label_values(gaps, schema)
    assert weights is not None
    seen = {n: weights[n] != 0 for n in STEPS}
    for of_step in (seen["stars"], seen["buy"], seen["repeat"]):
        assert 0 < of_step.sum() < 12
    x = shared(model, features)
    given = {n: tf.constant(v, tf.float32) for n, v in labels.items()}
    found = model.training_outputs([x] * 5, given, {n: tf.constant(w) for n, w in weights.items()})
    states = {n: labels[n].astype(int) for n in STEPS}
    expected, _, _ = towers(model, x.numpy().astype(np.float64), states, seen)
    for output, (name, theirs) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(output, theirs if name == "stars" else theirs[:, 0], rtol=1e-4, atol=1e-5)
    # Keras makes [B, 1] of labels that come as pandas columns.
    columns = {n: v[:, tf.newaxis] for n, v in given.items()}
    for a, b in zip(
        model.training_outputs([x] * 5, columns, {n: tf.constant(w) for n, w in weights.items()}), found, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_towers_are_independent_given_the_embedding(rows: pd.DataFrame) -> None:
    schema = funnel()
    model, features = build(schema, rows)
    labels, weights = label_values(rows[:12], schema)
    x = shared(model, features)
    views = [tf.identity(x) for _ in range(5)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(views)
        outputs = model.training_outputs(views, {n: tf.constant(v) for n, v in labels.items()}, weights)
    for t, output in enumerate(outputs):
        for j, view in enumerate(views):
            assert (tape.gradient(output, view) is not None) == (t == j)
    # And a later loss reaches no earlier tower, but the tables of the labels before it.
    reached = tape.gradient(outputs[-1], [tower.head.kernel for tower in model.towers])
    assert [gradient is not None for gradient in reached] == [False] * 4 + [True]
    tables = [unit.table for unit in model.label_embeddings.values()]
    assert all(gradient is not None for gradient in tape.gradient(outputs[-1], tables))


@pytest.mark.parametrize("unused", [{}, {"use_representation": False}, {"fusion": "concat"}])
def test_a_certain_step_is_in_one_state(make_model: Any, batch: Any, unused: dict[str, Any]) -> None:
    model = make_model(**unused)
    head, table = model.towers[0].head, model.label_embeddings["click"].table
    head.kernel.assign(tf.zeros_like(head.kernel))
    for certain, label in ((-60.0, 0), (60.0, 1)):
        head.bias.assign([certain])
        before, kept = model(batch[0])["spend"].numpy(), table.numpy()
        table.assign(np.where(np.arange(2)[:, np.newaxis] == label, kept, 9.0))  # the other state's row plays no part
        np.testing.assert_allclose(model(batch[0])["spend"], before, rtol=1e-5)
        table.assign(np.where(np.arange(2)[:, np.newaxis] == label, 9.0, kept))
        assert not np.allclose(model(batch[0])["spend"], before)
        table.assign(kept)


def test_more_than_64_states_are_refused(rows: pd.DataFrame) -> None:
    def of(*conditions: str | None) -> htl.Schema:
        steps = [htl.Binary(f"step_{i}", observed_if=condition) for i, condition in enumerate(conditions)]
        return htl.Schema(features=[htl.Categorical("user_id")], targets=[*steps, htl.Continuous("spend")])

    wide = rows.assign(**{f"step_{i}": rows["click"] for i in range(7)})
    free, chained = of(*[None] * 7), of(None, *(f"step_{i}" for i in range(6)))
    encoder = htl.FeatureEncoder.fit(free, wide)
    with pytest.raises(ValueError, match="there would be more than 64: choose 'hard', or fewer steps"):
        htl.HTLNet(free, encoder)
    htl.HTLNet(free, encoder, label_embedding="hard", tower_units=(4,))
    # A step that counts only after another has no states of its own where that did not happen: 8 in all.
    htl.HTLNet(chained, htl.FeatureEncoder.fit(chained, wide), tower_units=(4,))


def test_a_form_that_is_not_known(schema: htl.Schema, encoder: Any) -> None:
    with pytest.raises(ValueError, match=r"label_embedding must be one of .*'marginal'.*, received 'gumbel'"):
        htl.HTLNet(schema, encoder, label_embedding="gumbel")  # type: ignore[arg-type]


def test_the_published_form(schema: htl.Schema, encoder: Any) -> None:
    model = htl.HTLNet(schema, encoder, paper=True, tower_units=(4,))
    assert model.label_states is None
    for unit in model.label_embeddings.values():
        assert unit.form == "soft" and float(tf.math.reduce_std(unit.table)) < 0.06
