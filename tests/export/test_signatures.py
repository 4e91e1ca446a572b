"""Every signature gives the model's scores; what belongs to the user is looked up once."""

from __future__ import annotations

import keyword
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.export.examples import parse_examples, to_examples
from htlnet_tf.export.servable import Servable
from htlnet_tf.export.signatures import SIGNATURES
from htlnet_tf.export.signatures.candidates import Candidates, candidate_scores, candidate_specs, item_columns, of_user
from htlnet_tf.export.signatures.classify import class_labels
from htlnet_tf.schema.names import argument_name
from htlnet_tf.serving.server.servables import LoadedVersion


@pytest.fixture(scope="module")
def loaded(rich_saved: Path) -> Any:
    servable = LoadedVersion(rich_saved)
    yield servable
    servable.close()


def raw_rows(model: Any, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return raw_features(frame, model.schema)


def scores_of(model: Any, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    specs = model.encoder.raw_specs()
    encoded = model.encoder({name: tf.constant(raw[name], spec.dtype) for name, spec in specs.items()})
    return {name: score.numpy() for name, score in model(encoded, training=False).items()}


def test_candidates_are_rows_with_the_user_repeated(loaded: Any, rich_model: Any, rich_frame: pd.DataFrame) -> None:
    raw = raw_rows(rich_model, rich_frame[:60])
    for user in (0, 3, 5, 17):  # 5 has no user_id, 0 and 17 no age
        scores = loaded.run("candidates", Candidates().feeds(rich_model.encoder, raw, user=user))
        expected = scores_of(rich_model, of_user(rich_model.encoder, raw, user))
        assert set(scores) == {"click", "stars", "spend"}
        for name, score in scores.items():
            assert score.shape == expected[name].shape
            unit = rich_model.encoder.statistics.labels["spend"].std if name == "spend" else 1.0
            np.testing.assert_allclose(score, expected[name], rtol=1e-5, atol=1e-6 * unit)
        assert np.ptp(scores["spend"]) > 0.1


def test_candidates_declare_one_user_and_many_items(loaded: Any, rich_schema: htl.Schema) -> None:
    shapes = {name: info.shape for name, info in loaded.signatures["candidates"].inputs.items()}
    groups = {feature.name: feature.group for feature in rich_schema.inputs}
    assert shapes == {name: (-1,) if group == "item" else (1,) for name, group in groups.items()}


def test_the_user_is_looked_up_in_one_row(rich_model: Any) -> None:
    specs = candidate_specs(rich_model.encoder)
    graph = tf.function(lambda raw: candidate_scores(rich_model, raw), input_signature=[specs], autograph=False)
    operations = graph.get_concrete_function().graph.get_operations()
    finds = [op for op in operations if op.type == "LookupTableFindV2" and op.inputs[1].shape.rank == 1]
    # Single-valued look-ups: city and tab in one row, item_id in many; `history` and `tag` are ragged.
    assert sorted(str(op.inputs[1].shape) for op in finds) == ["(1,)", "(1,)", "(None,)", "(None,)", "(None,)"]
    (hashed,) = [op for op in operations if op.type == "StringToHashBucketFast" and op.inputs[0].shape == [1]]
    assert hashed.get_attr("num_buckets") == 16
    gathers = [op for op in operations if op.type == "ResourceGather" and op.outputs[0].shape.rank == 3]
    assert len(gathers) == 4  # two tables, of each a gather for the user's and one for the items' rows


@pytest.mark.parametrize("model_class", [htl.HTLNet, htl.SharedBottom])
def test_every_model_has_candidates(model_class: Any, make_model: Any, frame: pd.DataFrame) -> None:
    model = make_model(model_class) if model_class is htl.HTLNet else model_class(*_arguments(make_model))
    raw = raw_rows(model, frame[:9])
    specs = candidate_specs(model.encoder)
    asked = Candidates().feeds(model.encoder, raw, user=4)
    scores = candidate_scores(model, {name: tf.constant(asked[name], spec.dtype) for name, spec in specs.items()})
    expected = scores_of(model, of_user(model.encoder, raw, 4))
    for name, score in scores.items():
        np.testing.assert_allclose(score, expected[name], rtol=1e-5, atol=1e-6)


def _arguments(make_model: Any) -> tuple[Any, Any]:
    model = make_model()
    return model.schema, model.encoder


def test_without_item_columns_there_are_no_candidates(frame: pd.DataFrame, tmp_path: Path) -> None:
    schema = htl.Schema(
        features=[htl.Categorical("user_id", group="user")], targets=[htl.Binary("click"), htl.Continuous("spend")]
    )
    model = htl.HTLNet(schema, htl.FeatureEncoder.fit(schema, frame), tower_units=(4,))
    path = htl.export.export_model(model, tmp_path / "m", warmup_rows=(1,)).path
    assert set(tf.saved_model.load(str(path)).signatures) == {"serving_default", "examples", "classify", "regress"}


def test_examples_give_the_scores_of_rows(loaded: Any, rich_model: Any, rich_frame: pd.DataFrame) -> None:
    raw = raw_rows(rich_model, rich_frame[:40])
    expected = scores_of(rich_model, raw)
    scores = loaded.run("examples", SIGNATURES["examples"].feeds(rich_model.encoder, raw))
    for name in ("click", "stars", "spend"):
        np.testing.assert_allclose(scores[name], expected[name], rtol=1e-5, atol=1e-6)


def test_examples_are_parsed_by_the_schema(rich_model: Any) -> None:
    example = tf.train.Example()
    feature = example.features.feature
    feature["tag"].bytes_list.value.extend([b"a", b"b"])  # several values, joined
    feature["history"].bytes_list.value.append(b"1,2")  # one value, taken as it is
    feature["item_id"].int64_list.value.append(7)
    feature["age"].float_list.SetInParent()  # there, but without a value
    feature["unknown"].float_list.value.append(1.0)
    raw = parse_examples(rich_model.encoder, tf.constant([example.SerializeToString(), b""]))
    assert {name: (values.dtype, values.shape) for name, values in raw.items()} == {
        name: (spec.dtype, tf.TensorShape([2])) for name, spec in rich_model.encoder.raw_specs().items()
    }
    assert raw["tag"].numpy().tolist() == [b"a,b", b""]
    assert raw["history"].numpy().tolist() == [b"1,2", b""]
    assert raw["item_id"].numpy().tolist() == [7, -(2**63)]
    assert raw["when"].numpy().tolist() == [-(2**63)] * 2
    assert raw["user_id"].numpy().tolist() == [b"", b""]
    assert np.isnan(raw["age"].numpy()).all()
    assert np.isnan(raw["price"].numpy()).all()


def test_rows_survive_examples(rich_model: Any, rich_frame: pd.DataFrame) -> None:
    raw = raw_rows(rich_model, rich_frame)
    parsed = parse_examples(rich_model.encoder, tf.constant(to_examples(rich_model.schema, raw)))
    for name, values in raw.items():
        expected = values.astype("S").astype(object) if values.dtype == object else values
        np.testing.assert_array_equal(parsed[name].numpy(), expected)


def test_an_empty_request_gives_no_scores(loaded: Any, rich_model: Any, rich_frame: pd.DataFrame) -> None:
    assert loaded.run("examples", {"examples": np.empty(0, object)})["click"].shape == (0,)
    asked = Candidates().feeds(rich_model.encoder, raw_rows(rich_model, rich_frame[:1]))
    items = item_columns(rich_model.schema)
    scores = loaded.run("candidates", {name: v[:0] if name in items else v for name, v in asked.items()})
    assert {name: score.shape for name, score in scores.items()} == {"click": (0,), "stars": (0, 3), "spend": (0,)}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            tf.train.Example(
                features=tf.train.Features(
                    feature={"item_id": tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))}
                )
            ).SerializeToString(),
            "item_id is single-valued",
        ),
        (
            tf.train.Example(
                features=tf.train.Features(
                    feature={"price": tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))}
                )
            ).SerializeToString(),
            "Data types don't match",
        ),
        (b"no example", "Could not parse example input"),
    ],
    ids=["several values", "another type", "no example"],
)
def test_examples_that_are_wrong_are_refused(loaded: Any, record: bytes, message: str) -> None:
    with pytest.raises(htl.serving.errors.StatusError, match=message) as caught:
        loaded.run("examples", {"examples": np.array([record], object)})
    assert caught.value.code == "INVALID_ARGUMENT"


def test_classify_gives_the_funnel_and_regress_the_core(loaded: Any, rich_model: Any, rich_frame: pd.DataFrame) -> None:
    raw = raw_rows(rich_model, rich_frame[:10])
    expected = scores_of(rich_model, raw)
    classified = loaded.run("classify", SIGNATURES["classify"].feeds(rich_model.encoder, raw))
    assert class_labels(rich_model.schema) == ("click", "stars_0", "stars_1", "stars_2")
    assert classified["classes"].tolist() == [[b"click", b"stars_0", b"stars_1", b"stars_2"]] * 10
    np.testing.assert_allclose(classified["scores"][:, 0], expected["click"], rtol=1e-5)
    np.testing.assert_allclose(classified["scores"][:, 1:], expected["stars"], rtol=1e-5)
    regressed = loaded.run("regress", SIGNATURES["regress"].feeds(rich_model.encoder, raw))
    np.testing.assert_allclose(regressed["outputs"], expected["spend"], rtol=1e-5)


def test_method_names_are_those_of_the_verbs(loaded: Any) -> None:
    names = {name: definition["method_name"] for name, definition in loaded.signature_defs.items()}
    assert {name: method for name, method in names.items() if not name.startswith("__")} == {
        "serving_default": "tensorflow/serving/predict",
        "candidates": "tensorflow/serving/predict",
        "examples": "tensorflow/serving/predict",
        "classify": "tensorflow/serving/classify",
        "regress": "tensorflow/serving/regress",
    }


def test_the_fingerprint_is_that_of_the_file(rich_saved: Path, tmp_path: Path) -> None:
    from tensorflow.python.saved_model import fingerprinting_utils

    shutil.copytree(rich_saved, tmp_path, dirs_exist_ok=True)
    written = (tmp_path / "fingerprint.pb").read_bytes()
    fingerprinting_utils.write_fingerprint(str(tmp_path))
    before, after = (
        fingerprinting_utils.fingerprint_pb2.FingerprintDef.FromString(b)
        for b in (written, (tmp_path / "fingerprint.pb").read_bytes())
    )
    assert before.saved_model_checksum == after.saved_model_checksum
    assert before.signature_def_hash == after.signature_def_hash


def test_columns_of_any_name_are_inputs_of_that_name(tmp_path: Path) -> None:
    odd = ["self", "raw", "inputs", "examples", "args", "kwargs", "name", "ids", "numeric", "b64", "2d", "a.b", "c-d"]
    names = [*(k for k in keyword.kwlist if k != "return"), *odd, *keyword.softkwlist[1:]]
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.normal(size=8) for name in names})
    frame = frame.assign(is_new=[0, 1] * 4, spend=frame["class"], **{"return": [0, 1] * 4})
    schema = htl.Schema(
        features=[*(htl.Numeric(name) for name in names), htl.Categorical("is_new")],
        targets=[htl.Binary("return"), htl.Continuous("spend", non_negative=False)],
    )
    tf.keras.utils.set_random_seed(0)
    model = htl.SharedBottom(schema, htl.FeatureEncoder.fit(schema, frame))
    Servable(model).save(tmp_path)
    raw = raw_features(frame, model.encoder.schema)
    expected = scores_of(model, raw)
    assert np.ptp(expected["spend"]) > 0
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    arguments = {argument_name(name): tf.constant(values) for name, values in raw.items()}
    np.testing.assert_allclose(loaded(**arguments)["spend"], expected["spend"], rtol=1e-5)
    servable = LoadedVersion(tmp_path)
    try:
        for signature, output in (("serving_default", "spend"), ("candidates", None), ("regress", "outputs")):
            inputs = SIGNATURES[signature].feeds(model.encoder, raw)
            if signature != "regress":
                assert set(inputs) == set(servable.signature_defs[signature]["inputs"]) == {*names, "is_new"}
            if output is not None:
                np.testing.assert_allclose(servable.run(signature, inputs)[output], expected["spend"], rtol=1e-5)
    finally:
        servable.close()
