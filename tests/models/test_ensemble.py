"""Several models as one: the mean of their predictions, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.models import model_class

Build = Callable[..., Any]


def shaken(schema: htl.Schema, encoder: Any, seed: int, name: str = "htlnet", **arguments: Any) -> Any:
    """A model whose weights are far from their start, and whose amounts have a level of their own."""
    tf.keras.utils.set_random_seed(seed)
    model = model_class(name)(schema, encoder, tower_units=(8,), **arguments)
    model.compile(run_eagerly=True)
    for weight in model.trainable_variables:
        weight.assign(tf.random.normal(weight.shape, stddev=0.3))
    for head in model.heads.values():
        if head.level is not None:
            head.level.factor.assign(1.0 + 0.25 * seed)
    return model


@pytest.fixture(scope="module")
def members(schema: htl.Schema, encoder: Any) -> list[Any]:
    return [shaken(schema, encoder, seed) for seed in range(3)]


def test_a_prediction_is_the_mean_of_the_members_predictions(members: list[Any], frame: pd.DataFrame) -> None:
    expected = np.mean([htl.predict(member, frame).to_numpy(np.float64) for member in members], axis=0)
    scores = htl.predict(htl.Ensemble(members), frame)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    # Which is not what the mean of the logits would be.
    logits = [np.log(p / (1 - p)) for p in (htl.predict(m, frame)["click"].to_numpy(np.float64) for m in members)]
    assert np.abs(1 / (1 + np.exp(-np.mean(logits, axis=0))) - scores["click"]).max() > 1e-3


def test_the_probabilities_of_classes_are_averaged(frame: pd.DataFrame) -> None:
    rows = frame.assign(stars=np.arange(len(frame)) % 3)
    schema = htl.Schema(
        features=[htl.Categorical("user_id"), htl.Numeric("price")],
        targets=[htl.Multiclass("stars", num_classes=3), htl.Continuous("spend")],
    )
    encoder = htl.FeatureEncoder.fit(schema, rows)
    members = [shaken(schema, encoder, seed) for seed in range(2)]
    scores = htl.predict(htl.Ensemble(members), rows)[["stars_0", "stars_1", "stars_2"]]
    expected = np.mean([htl.predict(m, rows)[list(scores)].to_numpy(np.float64) for m in members], axis=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("objective", sorted(htl.objectives.OBJECTIVES))
def test_it_predicts_as_the_mixture_of_its_members_does(
    schema: htl.Schema, encoder: Any, batch: Any, objective: str
) -> None:
    """`Objective.mixture` makes outputs whose prediction is the weighted mean; with one level, that is the mean."""
    declared = schema.with_targets((*schema.steps, dataclasses.replace(schema.core, objective=objective)))
    members = [shaken(declared, encoder, seed) for seed in range(2)]
    for member in members:
        if member.heads["spend"].level is not None:
            member.heads["spend"].level.factor.assign(1.0)
    features, _ = batch
    outputs = [member._outputs(features, training=False) for member in members]
    scores = htl.Ensemble(members)(features)
    for i, (name, head) in enumerate(members[0].heads.items()):
        weights = tf.fill([len(scores[name]), 2], 0.5)
        mixed = head.predict(head.objective.mixture(weights, tf.stack([of[i] for of in outputs], axis=1)))
        np.testing.assert_allclose(scores[name], mixed, rtol=1e-4, atol=1e-6)


def test_members_that_have_the_training_rows_total_give_an_ensemble_that_has_it(
    members: list[Any], schema: htl.Schema, encoder: Any, frame: pd.DataFrame
) -> None:
    for member in members:
        member.fit_level(htl.data.make_dataset(frame, schema, encoder, batch_size=100))
    levels = [htl.predict(member, frame)["spend"].sum() / frame["spend"].sum() for member in members]
    assert len({round(float(member.heads["spend"].level.factor), 3) for member in members}) == 3
    assert levels == pytest.approx([1.0] * 3, rel=1e-5)
    report = htl.evaluate(htl.Ensemble(members), frame)
    assert report.value("spend", "level") == pytest.approx(1.0, rel=1e-5)


def test_members_of_several_classes(schema: htl.Schema, encoder: Any, frame: pd.DataFrame) -> None:
    members = [shaken(schema, encoder, 0, name) for name in ("single_task", "esmm", "htlnet")]
    model = htl.Ensemble(members)
    expected = np.mean([htl.predict(member, frame).to_numpy(np.float64) for member in members], axis=0)
    np.testing.assert_allclose(htl.predict(model, frame), expected, rtol=1e-6)
    assert model.title == "Ensemble x3"
    assert htl.Ensemble([members[0], shaken(schema, encoder, 1, "single_task")]).title == "SingleTask x2"


def test_keras_predicts_with_it_and_has_its_weights(schema: htl.Schema, encoder: Any, frame: pd.DataFrame) -> None:
    members = [shaken(schema, encoder, seed, "shared_bottom") for seed in range(3)]
    model = htl.Ensemble(members)
    batches = htl.data.make_dataset(frame, schema, model.encoder, batch_size=100)
    np.testing.assert_allclose(
        model.predict(batches, verbose=0)["spend"], htl.predict(model, frame)["spend"], rtol=1e-5
    )
    assert len(model.trainable_variables) == 3 * len(members[0].trainable_variables)
    assert model.members == tuple(members)


def test_seeds_train_members_that_are_those_of_the_seeds_alone(
    schema: htl.Schema, encoder: Any, frame: pd.DataFrame
) -> None:
    def train(seed: int) -> Any:
        return htl.SharedBottom(schema, encoder, tower_units=(4,))

    model = htl.Ensemble.train(train, seeds=[5, 6])
    tf.keras.utils.set_random_seed(6)
    alone = train(6)
    for ours, theirs in zip(model.members[1].get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(model.members[0].embedding.table, model.members[1].embedding.table)
    for seeds in ([], [1, 1]):
        with pytest.raises(htl.InputError, match="at least one seed, and each once"):
            htl.Ensemble.train(train, seeds=seeds)


def test_what_makes_no_ensemble_is_refused(
    members: list[Any], schema: htl.Schema, encoder: Any, frame: pd.DataFrame
) -> None:
    with pytest.raises(htl.InputError, match="at least one member"):
        htl.Ensemble([])
    with pytest.raises(htl.InputError, match="member of the ensemble twice"):
        htl.Ensemble([members[0], members[0]])
    tweedie = schema.with_targets((*schema.steps, dataclasses.replace(schema.core, objective="tweedie")))
    with pytest.raises(htl.InputError, match="one schema: that of member 2 is another"):
        htl.Ensemble([members[0], shaken(tweedie, encoder, 0)])
    other = htl.FeatureEncoder.fit(encoder.schema, frame.head(300))
    with pytest.raises(htl.InputError, match="one encoder: that of member 3 was fitted on other rows"):
        htl.Ensemble([*members[:2], shaken(schema, other, 0)])
    with pytest.raises(htl.InputError, match=r"single models; member 2 is Ensemble: .*ensemble\.members"):
        htl.Ensemble([members[0], htl.Ensemble(members[1:])])
    equal = htl.FeatureEncoder.fit(schema, frame)
    assert len(htl.Ensemble([members[0], shaken(schema, equal, 1)]).members) == 2


def test_it_is_not_trained_or_saved_as_keras_would(members: list[Any], frame: pd.DataFrame, tmp_path: Any) -> None:
    model = htl.Ensemble(members)
    for call, message in {
        model.compile: "an ensemble is not compiled: its members are trained one by one",
        model.fit: "an ensemble is not fitted: its members",
        model.evaluate: r"an ensemble has no losses: .*htlnet_tf\.evaluate\(model, frame\)",
    }.items():
        with pytest.raises(htl.InputError, match=message):
            call(frame)
    with pytest.raises(htl.InputError, match=r"`model\.predict` takes encoded batches and received a DataFrame"):
        model.predict(frame)
    with pytest.raises(htl.InputError, match=r"`model\.save` is refused"):
        model.save(tmp_path / "m")
    with pytest.raises(htl.InputError, match="writing a model as a SavedModel is refused"):
        tf.saved_model.save(model, str(tmp_path / "m"))
