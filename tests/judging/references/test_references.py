"""Every reference: near the truth where that is known, by the labels that were observed, by their weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import EncodedRows
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.judging.references import REFERENCES, BoostedTrees, FittedReference, relative_loss, with_level
from tests.judging.references.conftest import Shop


def fit(name: str, shop: Shop, train: EncodedRows | None = None, seed: int = 0, **settings: float) -> FittedReference:
    reference = REFERENCES[name]
    chosen = {**reference.defaults, **settings}
    return reference.fit(train or shop.train, shop.valid, shop.encoder, chosen, seed=seed, threads=1)


@pytest.mark.parametrize("name", REFERENCES)
def test_near_the_truth(name: str, shop: Shop) -> None:
    fitted = fit(name, shop)
    found = fitted.predict(shop.valid.features)
    assert found.keys() == {t.name for t in REFERENCES[name].targets(shop.encoder.schema)}
    assert found.keys() == (set(shop.truth) if "@" not in name else {"spend"})
    for target, predicted in found.items():
        # Labels are noisy, so that even the true form is not met exactly: at most a fifth of the truth's variance.
        error = np.mean((predicted - shop.truth[target]) ** 2)
        assert error < 0.2 * np.mean((shop.truth[target] - shop.truth[target].mean(axis=0)) ** 2), target
    assert (found["spend"] >= 0).all()
    if "stars" in found:
        np.testing.assert_allclose(found["stars"].sum(axis=1), 1.0)
    assert fitted.parameters > fitted.steps > 0 or name == "glm"
    targets = REFERENCES[name].targets(shop.encoder.schema)
    assert 0.2 < relative_loss(fitted, shop.valid, targets) < 0.95


@pytest.mark.parametrize("name", ["glm", "lightgbm", "lightgbm@two_part"])
def test_weights_and_masks_count(name: str, shop: Shop) -> None:
    """A row of weight 0 may say anything; a row of weight 2 is two rows."""
    assert shop.train.weights is not None
    click = shop.train.weights["spend"] > 0
    labels = dict(shop.train.labels)
    labels["spend"] = np.where(click, labels["spend"], 1e6)
    lying = dataclasses.replace(shop.train, labels=labels)
    for target, values in fit(name, shop, lying).predict(shop.valid.features).items():
        np.testing.assert_array_equal(values, fit(name, shop).predict(shop.valid.features)[target])
    half = {k: np.where(np.arange(3000) % 2, 3.0, 1.0) * w for k, w in shop.train.weights.items()}
    found = fit(name, shop, dataclasses.replace(shop.train, weights=half)).predict(shop.valid.features)["spend"]
    assert np.abs(found - fit(name, shop).predict(shop.valid.features)["spend"]).max() > 1e-3


def test_linear_models_take_a_weight_for_so_many_rows(shop: Shop) -> None:
    twice = EncodedRows.concatenate([shop.train, shop.train.map(lambda array: array[::2])])
    assert shop.train.weights is not None
    weights = {k: np.where(np.arange(3000) % 2, 1.0, 2.0) * w for k, w in shop.train.weights.items()}
    weighted = fit("glm", shop, dataclasses.replace(shop.train, weights=weights)).predict(shop.valid.features)
    for target, values in fit("glm", shop, twice).predict(shop.valid.features).items():
        np.testing.assert_allclose(weighted[target], values, rtol=0.01, atol=0.01)


def test_seeds_draw_and_are_repeated(shop: Shop) -> None:
    first, again, other = (
        fit("lightgbm@poisson", shop, seed=s, feature_fraction=0.5).predict(shop.valid.features)["spend"]
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@pytest.mark.parametrize("name", REFERENCES)
def test_labels_that_are_all_the_same_are_predicted(name: str, shop: Shop) -> None:
    labels = {target: np.ones_like(values) for target, values in shop.train.labels.items()}
    found = fit(name, shop, dataclasses.replace(shop.train, labels=labels)).predict(shop.valid.features)
    for target, values in found.items():
        expected = np.tile([0.0, 1.0, 0.0], (1000, 1)) if target == "stars" else np.ones(1000)
        np.testing.assert_array_equal(values, expected)


def test_a_target_without_validation_labels_is_named(shop: Shop) -> None:
    weights = {target: np.zeros(1000, np.float32) for target in shop.valid.labels}
    blind = dataclasses.replace(shop, valid=dataclasses.replace(shop.valid, weights=weights))
    with pytest.raises(htl.InputError, match="target 'spend': no validation row has a label"):
        fit("lightgbm@tweedie", blind)


def test_amounts_that_may_be_negative_have_no_logarithm() -> None:
    schema = htl.Schema(
        features=[htl.Categorical("tab")], targets=[htl.Binary("click"), htl.Continuous("gain", non_negative=False)]
    )
    found = {name: reference.obstacle(schema) for name, reference in REFERENCES.items()}
    assert {name for name, why in found.items() if why} == {
        "lightgbm@tweedie",
        "lightgbm@poisson",
        "lightgbm@two_part",
    }
    assert found["lightgbm@poisson"] == "target 'gain' may be negative"


def test_nothing_to_learn_a_size_from(shop: Shop) -> None:
    """Validation rows without a positive amount: one booster for all then."""
    labels = {target: np.zeros_like(values) for target, values in shop.valid.labels.items()}
    reference = BoostedTrees("two_part")
    empty = dataclasses.replace(shop.valid, labels=labels)
    fitted = reference.fit(shop.train, empty, shop.encoder, reference.defaults, seed=0, threads=1)
    assert np.isfinite(fitted.predict(shop.valid.features)["spend"]).all()


def test_the_relative_loss_by_hand() -> None:
    schema = htl.Schema(
        features=[htl.Categorical("tab")],
        targets=[htl.Binary("click"), htl.Multiclass("stars", num_classes=3), htl.Continuous("spend")],
    )
    labels = {"click": np.array([1.0, 0, 0, 1]), "stars": np.array([0, 1, 2, 2]), "spend": np.array([0.0, 4, 8, 9])}
    weights = {"click": np.array([1.0, 1, 2, 0]), "stars": np.array([1.0, 1, 1, 1]), "spend": np.array([2.0, 1, 1, 0])}
    predictions: dict[str, Any] = {
        "click": np.array([0.5, 0.25, 0.25, 0.9]),
        "stars": np.array([[0.5, 0.25, 0.25]] * 4),
        "spend": np.array([1.0, 3, 8, 0]),
    }
    fitted = FittedReference(lambda _: predictions, 1, 1)
    rows = EncodedRows({"ids": np.zeros((4, 1))}, labels, weights)
    # Losses 2 log 2 of the first two, constants 4 of them with one in four: 4 log 4 - 3 log 3 (all over the same rows).
    click = (np.log(2) - 3 * np.log(0.75)) / (4 * np.log(4) - 3 * np.log(3))
    stars = (np.log(2) + 3 * np.log(4)) / (np.log(4) + np.log(4) + 2 * np.log(2))
    # Weighted mean 12 / 4 = 3: squared errors 2 + 1 + 0 against 18 + 1 + 25.
    spend = 3 / 44
    for target, ratio in zip(schema.targets, (click, stars, spend), strict=True):
        assert relative_loss(fitted, rows, [target]) == pytest.approx(ratio)
    assert relative_loss(fitted, rows, schema.targets) == pytest.approx((click + stars + spend) / 3)
    same = dataclasses.replace(rows, labels=labels | {"click": np.zeros(4)})
    assert relative_loss(fitted, same, schema.targets[:2]) == pytest.approx(stars)
    assert np.isnan(relative_loss(fitted, same, schema.targets[:1]))


def test_observed_rows() -> None:
    target = htl.Binary("click")
    rows = EncodedRows({"ids": np.zeros((3, 1))}, {"click": np.array([1.0, 0, 1])}, {"click": np.array([0.0, 2, 3])})
    observed = Observed.of(rows, target)
    assert [part.tolist() for part in observed if part is not None] == [[1, 2], [0, 1], [2, 3]]
    positive = observed.where(observed.labels > 0)
    assert [part.tolist() for part in positive if part is not None] == [[2], [1], [3]]
    assert Observed.of(dataclasses.replace(rows, weights=None), target).weights is None


@pytest.mark.parametrize("name", ["glm", "lightgbm@two_part"])
def test_amounts_are_brought_to_the_level_of_rows(name: str, shop: Shop) -> None:
    """Weighted as the losses are, of the rows that take part."""
    targets = REFERENCES[name].targets(shop.encoder.schema)
    fitted = fit(name, shop)
    doubled = dataclasses.replace(shop.train, labels={**shop.train.labels, "spend": shop.train.labels["spend"] * 2})
    found = with_level(fitted, doubled, targets).predict(shop.train.features)
    assert shop.train.weights is not None
    w = np.asarray(shop.train.weights["spend"], np.float64)
    np.testing.assert_allclose(w @ found["spend"], w @ np.asarray(doubled.labels["spend"], np.float64), rtol=1e-6)
    before = fitted.predict(shop.train.features)
    assert np.ptp(found["spend"] / before["spend"]) < 1e-6
    for other in set(before) - {"spend"}:
        np.testing.assert_array_equal(found[other], before[other])
