"""`ranked` gives the best candidates in the order of their scores, and a wrong order is not published."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import VerificationError
from htlnet_tf.export.servable import Servable
from htlnet_tf.export.signatures import SIGNATURES, signatures_of
from htlnet_tf.export.signatures.ranked import Ranked, best_of
from htlnet_tf.export.signatures.signature import expected_scores
from htlnet_tf.export.verify import verify
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.servables import LoadedVersion


@pytest.fixture(scope="module")
def loaded(ranked_models: Path) -> Iterator[LoadedVersion]:
    version = LoadedVersion(ranked_models / "m" / "1")
    yield version
    version.close()


@pytest.fixture
def raw(ranked_model: Any, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return dict(raw_features(frame, ranked_model.schema))


@pytest.mark.parametrize("k", [1, 7, 400, 2**31 - 1])
def test_the_best_candidates_come_first(loaded: LoadedVersion, ranked_model: Any, raw: Any, k: int) -> None:
    inputs = Ranked().feeds(ranked_model.encoder, raw, user=3, k=k)
    candidates = {name: values for name, values in inputs.items() if name != "k"}
    scores, found = loaded.run("candidates", candidates), loaded.run("ranked", inputs)
    assert list(scores) != [] and set(found) == {*scores, "index"}
    order = np.argsort(-scores["score"], kind="stable")[:k]
    np.testing.assert_array_equal(found["index"], order)
    assert found["index"].dtype == np.int32
    for name, values in scores.items():
        np.testing.assert_array_equal(found[name], values[order])


def test_every_signature_of_scores_has_the_score(loaded: LoadedVersion, ranked_model: Any, raw: Any) -> None:
    rows = {name: values[:20] for name, values in raw.items()}
    expected = None
    for name in ("serving_default", "examples"):
        scores = loaded.run(name, SIGNATURES[name].feeds(ranked_model.encoder, rows))
        # By hand, from the scores that came along.
        by_hand = scores["click"].astype(float) ** 0.5 * np.maximum(scores["spend"], 0.5)
        np.testing.assert_allclose(scores["score"], by_hand, rtol=1e-5)
        expected = scores["score"] if expected is None else expected
        np.testing.assert_allclose(scores["score"], expected, rtol=1e-5)
    assert set(loaded.run("regress", SIGNATURES["regress"].feeds(ranked_model.encoder, rows))) == {"outputs"}
    outputs = {name: list(s.outputs) for name, s in loaded.signatures.items()}
    assert outputs["ranked"] == ["index", "score", "click", "buy", "spend"]
    assert outputs["serving_default"] == outputs["candidates"] == ["click", "buy", "spend", "score"]


@pytest.mark.parametrize("k", [0, -3])
def test_fewer_than_one_candidate_cannot_be_asked_for(
    loaded: LoadedVersion, ranked_model: Any, raw: Any, k: int
) -> None:
    with pytest.raises(StatusError, match="k, the number of candidates asked for, must be at least 1") as caught:
        loaded.run("ranked", Ranked().feeds(ranked_model.encoder, raw, k=k))
    assert caught.value.code == "INVALID_ARGUMENT"


def test_no_candidates_have_no_best(loaded: LoadedVersion, ranked_model: Any, raw: Any) -> None:
    inputs = Ranked().feeds(ranked_model.encoder, raw)
    items = {f.name for f in ranked_model.schema.inputs if f.group == "item"}
    found = loaded.run("ranked", {name: v[:0] if name in items else v for name, v in inputs.items()})
    assert {values.shape for values in found.values()} == {(0,)}


def test_ties_keep_their_order_and_what_is_no_number_comes_last() -> None:
    score = tf.constant([2.0, np.nan, 3.0, 2.0, 3.0, 0.0, 2.0])
    found = best_of({"score": score, "stars": tf.stack([score, 2 * score], axis=1)}, tf.constant(7))
    assert found["index"].numpy().tolist() == [2, 4, 0, 3, 6, 5, 1]
    np.testing.assert_array_equal(found["stars"].numpy()[:, 1], [6, 6, 4, 4, 4, 0, np.nan])


def test_it_is_offered_with_a_ranking_and_candidates_alone(ranked_model: Any) -> None:
    schema = ranked_model.schema
    assert "ranked" in signatures_of(schema)
    assert "ranked" not in signatures_of(dataclasses.replace(schema, ranking=None))
    assert "ranked" not in signatures_of(schema.with_features(f for f in schema.features if f.group != "item"))


def test_a_wrong_order_is_not_published(
    ranked_model: Any, raw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upside_down(self: Ranked, model: Any, scored: Any, inputs: Any) -> Any:
        return {name: tf.reverse(values, [0]) for name, values in outputs(self, model, scored, inputs).items()}

    outputs = Ranked.outputs
    with monkeypatch.context() as patched:
        patched.setattr(Ranked, "outputs", upside_down)
        Servable(ranked_model).save(tmp_path / "1")
    with pytest.raises(VerificationError, match="'ranked': 'index' differs"):
        verify(ranked_model, tmp_path / "1", {name: values[:40] for name, values in raw.items()})


def test_other_weights_are_another_model(
    ranked_models: Path, ranked_model: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = htl.Ranking({"click": 0.5, "spend": 1.01}, floor={"spend": 0.5})
    monkeypatch.setattr(ranked_model, "schema", dataclasses.replace(ranked_model.schema, ranking=other))
    with pytest.raises(VerificationError, match="'score' differs"):
        verify(ranked_model, ranked_models / "m" / "1", {name: values[:40] for name, values in raw.items()})


def test_candidates_that_a_rounding_parts_may_change_places(ranked_model: Any, raw: Any) -> None:
    rows = {name: np.repeat(values[:3], 2) for name, values in raw.items()}  # each item twice
    question = next(iter(Ranked().questions(ranked_model, rows, expected_scores(ranked_model, rows))))
    due = question.due({})
    order = due["index"].values
    exchanged = order.copy()
    exchanged[[0, 1]] = order[[1, 0]]  # equally good ones
    np.testing.assert_array_equal(question.due({"index": exchanged})["index"].values, exchanged)
    exchanged[[1, 2]] = exchanged[[2, 1]]
    np.testing.assert_array_equal(question.due({"index": exchanged})["index"].values, order)
    for wrong in (order[:-1], np.full_like(order, order[0]), order - 1):
        np.testing.assert_array_equal(question.due({"index": wrong})["index"].values, order)


def test_quantiles_have_a_place_in_the_order(ranked_model: Any) -> None:
    schema = ranked_model.schema
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.1, 0.9))
    wider = schema.with_targets((*schema.targets[:-1], core))
    assert Ranked().output_order(wider) == ("index", "score", "click", "buy", "spend", "spend_p10", "spend_p90")
    assert list(wider.outputs)[-1] == "score"
