"""Every kind of feature by hand, and the one rule for training and serving: the same raw value, the same row."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.encoding.coverage import Coverage
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.kinds import categorical

TARGETS = [htl.Binary("click"), htl.Continuous("spend")]


def fitted(features: list[Any], columns: dict[str, Any]) -> tuple[FeatureEncoder, pd.DataFrame]:
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame(
        columns | {"click": [0, 1] * (count // 2) + [0] * (count % 2), "spend": np.arange(count) * 1.0}
    )
    return htl.FeatureEncoder.fit(htl.Schema(features=features, targets=TARGETS), frame), frame


def ids(encoder: FeatureEncoder, **columns: Any) -> list[list[int]]:
    return encoder.encode(pd.DataFrame(columns))["ids"].tolist()


def test_hashing_gives_every_value_a_bucket() -> None:
    c = htl.Categorical("c", encoding="hash", num_buckets=8, missing_values=["none"])
    encoder, _ = fitted([c], {"c": ["a", "b", None, "none"]})
    assert encoder.num_rows == 1 + 1 + 8  # padding, missing, buckets
    known = np.asarray(ids(encoder, c=["a", "b", "never seen", None, "none", ""]))[:, 0]
    assert known[3:].tolist() == [1, 1, 1]
    # The buckets are those of TensorFlow's FarmHash64.
    expected = tf.strings.to_hash_bucket_fast(["a", "b", "never seen"], 8).numpy() + 2
    assert known[:3].tolist() == expected.tolist()


def test_hashed_numbers_are_hashed_as_their_text() -> None:
    numbers, _ = fitted([htl.Categorical("c", encoding="hash", num_buckets=50)], {"c": [1, 20, -3]})
    texts, _ = fitted([htl.Categorical("c", encoding="hash", num_buckets=50)], {"c": ["1", "20", "-3"]})
    assert ids(numbers, c=[1, 20, -3, 7]) == ids(texts, c=["1", "20", "-3", "7"])


def test_the_encoding_follows_the_cardinality(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categorical, "MAX_VOCABULARY", 3)
    features = [htl.Categorical("few", min_count=1), htl.Categorical("many", min_count=1)]
    encoder, _ = fitted(features, {"few": [1, 2, 3, 1, 1], "many": [1, 2, 3, 4, 5]})
    few, many = encoder.schema.categoricals
    assert (few.encoding, few.num_buckets) == ("vocabulary", None)
    assert (many.encoding, many.num_buckets) == ("hash", 8)


def test_sequences_keep_their_last_values_and_lists_their_first() -> None:
    features = [htl.Sequence("seen", max_length=2, min_count=1), htl.Categorical("tag", separator=",", max_length=2)]
    encoder, _ = fitted(features, {"seen": ["a,b,c", "a", ""], "tag": ["x,y,z", "x,y", "z,z"]})
    # By hand: padding 0; seen: unknown 1, missing 2; kept b c, a: each once, so by name: a 3, b 4, c 5.
    # tag: unknown 6 (never missing); of x y, x y, z z: x, y, z 2 times each: 7, 8, 9.
    assert ids(encoder, seen=["a,b,c", "c,new,a", None], tag=["x,y,z", "z", "n,x"]) == [
        [4, 5, 7, 8],
        [1, 3, 9, 0],
        [2, 0, 6, 7],
    ]


def test_a_list_longer_than_any_in_training_keeps_its_end_too() -> None:
    encoder, _ = fitted([htl.Sequence("seen", min_count=1)], {"seen": ["a,b", "c,d", "e"]})
    assert encoder.slots == (2,)
    assert ids(encoder, seen=["a,b,c,d,e"]) == ids(encoder, seen=["d,e"])


def test_a_hash_has_a_row_for_missing_values_that_training_did_not_have() -> None:
    encoder, _ = fitted([htl.Sequence("seen", encoding="hash", num_buckets=4)], {"seen": ["a,b", "c", "d"]})
    assert ids(encoder, seen=[""]) == [[1, 0]]


def test_lists_and_strings_are_one() -> None:
    encoder, _ = fitted([htl.Sequence("seen", min_count=1)], {"seen": [["a", "b"], ["b"], None]})
    assert encoder.schema.categoricals[0].dtype == "string"
    assert ids(encoder, seen=[["b", "a"], []]) == ids(encoder, seen=["b,a", ""])


@pytest.mark.parametrize("tag_is_int", [False, True])
def test_two_columns_share_rows(tag_is_int: bool) -> None:
    features = [
        htl.Categorical("tag", min_count=2, embedding_dim=3),
        htl.Sequence("history", shares="tag", missing_values=["0"]),
        htl.Categorical("other"),
    ]
    tags: list[Any] = [7, 8, 9, 7] if tag_is_int else ["7", "8", "9", "7"]
    encoder, _ = fitted(features, {"tag": tags, "history": ["9,7", "5", "0", "x,x"], "other": [1, 1, 1, 1]})
    # 7 occurs three times and 9 twice in both columns together; "x" twice too, which no whole number is. Table of the
    # model's width first: tag is declared first, so it comes first: padding 0, unknown 1, missing 2 (of the history).
    values = list(encoder.statistics.learned["tag"].values)
    assert values == ([7, 9] if tag_is_int else ["7", "9", "x"])
    assert encoder.statistics.learned["history"].values == ()
    first = encoder.layout.tables[0]
    assert (first.dim, first.start, first.fields) == (3, 0, (0, 1))
    got = ids(encoder, tag=[tags[0], tags[2]], history=["9,7", "0,5"], other=[1, 2])
    assert [row[:3] for row in got] == [[3, 4, 3], [4, 1, 0]]
    second = encoder.layout.tables[1]
    assert [row[3] for row in got] == [second.start + 2, second.start + 1]


def test_quantile_buckets_by_hand() -> None:
    x = htl.Numeric("x", quantile_buckets=4, missing_values=[-1.0])
    encoder, _ = fitted([htl.Categorical("c", min_count=1), x], {"c": [0] * 10, "x": [*range(9), np.nan]})
    # -1 is a code for missing, so it is no quantile; those of 0 .. 8 are these.
    assert encoder.statistics.learned["x"].boundaries == (2.0, 4.0, 6.0)
    assert encoder.num_numeric == 0
    # c: padding 0, unknown 1, value 2; x: missing 3, buckets from 4 on; a bound belongs to the bucket above it.
    got = ids(encoder, c=[0] * 7, x=[-100.0, 1.9, 2.0, 5.0, 6.0, 1e30, None])
    assert [row[1] for row in got] == [4, 4, 5, 6, 7, 7, 3]
    assert ids(encoder, c=[0], x=[-1.0])[0][1] == 3


def test_a_number_beside_its_bucket() -> None:
    x = htl.Numeric("x", quantile_buckets=2, keep_number=True, log1p=True)
    e = np.e
    encoder, _ = fitted([htl.Categorical("c", min_count=1), x], {"c": [0] * 4, "x": [0.0, e - 1, e**2 - 1, np.nan]})
    # The logarithms 0, 1, 2 have the mean 1 and the deviation sqrt(2/3); the bound is the median of the raw numbers.
    assert encoder.statistics.learned["x"].boundaries == (np.float32(e - 1),)
    encoded = encoder.encode(pd.DataFrame({"c": [0, 0, 0], "x": [0.0, e**2 - 1, np.nan]}))
    assert encoded["ids"][:, 1].tolist() == [4, 5, 3]  # c: padding 0, unknown 1, value 2; x: missing 3, then buckets
    np.testing.assert_allclose(encoded["numeric"], [[-(1.5**0.5), 0], [1.5**0.5, 0], [0, 1]], rtol=1e-6)


def test_a_constant_number_has_one_bound() -> None:
    features = [htl.Categorical("c"), htl.Numeric("x", quantile_buckets=4)]
    encoder, _ = fitted(features, {"c": [0, 0], "x": [5.0, 5.0]})
    assert encoder.statistics.learned["x"].boundaries == (5.0,)


@pytest.mark.parametrize(("offset", "hour", "weekday"), [(0.0, 12, 4), (8.0, 20, 4), (12.5, 0, 5), (-12.0, 0, 4)])
def test_hour_and_weekday(offset: float, hour: int, weekday: int) -> None:
    # 2024-03-01 12:00 UTC was a Friday (weekday 4).
    features = [htl.Timestamp("t", utc_offset_hours=offset), htl.Categorical("c")]
    moment = pd.Timestamp("2024-03-01T12:00:00")
    encoder, _ = fitted(features, {"t": [moment, moment], "c": [0, 0]})
    assert [f.name for f in encoder.layout.fields] == ["t.hour", "t.weekday", "c"]
    row, missing = ids(encoder, t=[moment, None], c=[0, 0])
    # Padding 0, hour: missing 1, then 2 .. 25; weekday: missing 26, then 27 .. 33.
    assert row[:2] == [2 + hour, 27 + weekday]
    assert missing[:2] == [1, 26]
    assert ids(encoder, t=[int(moment.timestamp() * 1000)], c=[0]) == [row]


def test_a_timestamp_before_1970() -> None:
    encoder, _ = fitted([htl.Timestamp("t", unit="s"), htl.Categorical("c")], {"t": [0, 0], "c": [0, 0]})
    # One second before Thursday 1970-01-01 00:00 is Wednesday 23:59:59.
    assert ids(encoder, t=[-1, 0], c=[0, 0]) == [[2 + 23, 27 + 2, 35], [2, 27 + 3, 35]]


def test_a_cross_counts_off_the_pairs_if_they_fit() -> None:
    features = [htl.Categorical("a"), htl.Categorical("b"), htl.Cross("a_b", of=("a", "b"), num_buckets=100)]
    encoder, frame = fitted(features, {"a": ["x", "x", "y", "y"], "b": [1, 1, 2, 2]})
    # a: unknown 1, x 2, y 3; b: unknown 4, 1 -> 5, 2 -> 6; 3 x 3 pairs from 7 on.
    assert encoder.num_rows == 7 + 9
    got = ids(encoder, a=["x", "y", "new"], b=[2, 9, 1])
    assert [row[2] for row in got] == [7 + 1 * 3 + 2, 7 + 2 * 3 + 0, 7 + 0 * 3 + 1]
    assert "a_b" not in encoder.raw_specs()
    assert list(raw_features(frame, encoder.schema)) == ["a", "b"]


def test_a_cross_hashes_the_pairs_if_they_do_not() -> None:
    features = [htl.Categorical("a"), htl.Categorical("b"), htl.Cross("a_b", of=("a", "b"), num_buckets=5)]
    values = np.arange(40) // 2
    encoder, frame = fitted(features, {"a": values, "b": values[::-1]})
    rows = encoder.encode(frame)["ids"][:, 2]
    block = set(range(encoder.num_rows - 5, encoder.num_rows))
    assert set(rows.tolist()) == block  # 20 pairs over 5 buckets: none is empty


def test_widths_have_tables_of_their_own() -> None:
    features = [
        htl.Categorical("a"),
        htl.Categorical("b", embedding_dim=4),
        htl.Categorical("c"),
        htl.Sequence("d", embedding_dim=4, min_count=1),
    ]
    encoder, _ = fitted(features, {"a": [1, 1], "b": [1, 1], "c": [1, 1], "d": ["u,v", "u"]})
    model_width, four = encoder.layout.tables
    assert (model_width.dim, model_width.start, model_width.rows, model_width.fields) == (None, 0, 5, (0, 2))
    assert (four.dim, four.start, four.rows, four.fields) == (4, 5, 6, (1, 3))
    assert ids(encoder, a=[1], b=[1], c=[1], d=["u"]) == [[2, 7, 4, 9, 5]]  # the padding of d is row 5, its table's


def test_out_of_vocabulary_values_are_counted() -> None:
    features = [htl.Categorical("a"), htl.Sequence("s", min_count=1), htl.Categorical("h", encoding="hash")]
    encoder, _ = fitted(features, {"a": [1, 1, None], "s": ["u,v", "u", None], "h": [1, 2, 3]})
    rows = pd.DataFrame({"a": [1, 2, None, 3], "s": ["u,new", "v", None, "new,new"], "h": [9, 9, 9, 9]})
    # a: 2 and 3 of three values; s: new, new, new of five.
    coverage = Coverage(encoder)
    coverage.add(encoder.encode(rows.head(1))["ids"])
    coverage.add(encoder.encode(rows.tail(3))["ids"])
    assert coverage.num_rows == 4
    assert coverage.counts() == {"a": (2, 3), "s": (3, 5)}
    assert coverage.shares() == {"a": 2 / 3, "s": 3 / 5}


TEXTS = st.one_of(
    st.none(),
    st.sampled_from(["", " ", "a", "a,b", "007", "7", "-7", "NaN", "inf", "é☃", "\x00", str(2**63 - 1), " a , ,b"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
INTEGERS = st.one_of(st.sampled_from([0, 7, -7, 2**63 - 1, -(2**63) + 1, -124]), st.integers(-(2**63), 2**63 - 1))
NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, np.nan, 3.4e38, 1e-45]), st.floats(width=32, allow_infinity=False)
)
ODD = ["", "a", "a,b", "007", "7", "é☃", "NaN", None]


@functools.cache
def everything() -> FeatureEncoder:
    features = [
        htl.TargetEncoding(of="text_number", target="click", quantile_buckets=3, embedding_dim=3),
        htl.Categorical("text", min_count=1),
        htl.Categorical("hashed", encoding="hash", num_buckets=16),
        htl.Categorical("tags", separator=",", min_count=1, pooling="max"),
        htl.Sequence("history", shares="tags", max_length=2),
        htl.Categorical("number", min_count=1, missing_values=[-124], embedding_dim=3),
        htl.Categorical("hashed_number", encoding="hash", num_buckets=16),
        htl.Numeric("x"),
        htl.Numeric("bucketed", quantile_buckets=3, missing_values=[-1.0]),
        htl.Numeric("both", column="bucketed", quantile_buckets=3, keep_number=True, missing_values=[-1.0]),
        htl.Timestamp("t", utc_offset_hours=5.5),
        htl.Cross("text_number", of=("text", "number"), num_buckets=30),
        htl.CountEncoding(of="tags", quantile_buckets=2),
    ]
    integers = [0, 7, -7, 2**63 - 1, -(2**63) + 1, -124, 7, 7]
    numbers = [0.0, 1.0, -1.0, np.nan, 3.0, 1e-45, 2.0, 1.0]
    columns = {"text": ODD, "hashed": ODD, "tags": ODD, "history": ODD, "number": integers, "hashed_number": integers}
    return fitted(features, columns | {"x": numbers, "bucketed": numbers, "t": integers})[0]


ROW = st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, INTEGERS, INTEGERS, NUMBERS, NUMBERS, INTEGERS)
NAMES = ["text", "hashed", "tags", "history", "number", "hashed_number", "x", "bucketed", "t"]


def as_frame(rows: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series([row[i] for row in rows]) for i, name in enumerate(NAMES)})


@settings(max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_frame_is_encoded_as_the_graph_encodes_its_raw_columns(rows: list[Any]) -> None:
    encoder, frame = everything(), as_frame(rows)
    raw = raw_features(frame, encoder.schema)
    graph = _graph(encoder)({n: tf.constant(raw[n], spec.dtype) for n, spec in encoder.raw_specs().items()})
    for key, values in encoder.encode(frame).items():
        np.testing.assert_array_equal(values, graph[key].numpy())
    assert np.isfinite(graph["numeric"]).all()
    start = 0
    for field in encoder.layout.fields:
        part, start = graph["ids"][:, start : start + field.slots], start + field.slots
        assert (part >= 0).numpy().all()
        assert (part < encoder.num_rows).numpy().all()


@functools.cache
def _graph(encoder: FeatureEncoder) -> Any:
    return tf.function(encoder.__call__, input_signature=[encoder.raw_specs()])


def test_training_and_a_servable_encode_alike(tmp_path: Path) -> None:
    encoder = everything()
    module = tf.Module()
    module.tables = list(encoder.tables)
    module.encode = tf.function(encoder.__call__, input_signature=[encoder.raw_specs()])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.encode})
    loaded = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    odd = [*ODD, " a , ,b", "\x00", str(2**63 - 1), "-7"]
    integers = [0, 7, -7, 2**63 - 1, -(2**63) + 1, -124, -(2**63), 1, 2, 3, 4, 5]
    numbers = [0.0, -0.0, 1.0, np.nan, 3.4e38, -1.0, 1e-45, 2.0, 5.0, -3.4e38, 0.5, 9.0]
    rows = list(zip(odd, odd, odd[::-1], odd, integers, integers[::-1], numbers, numbers[::-1], integers, strict=True))
    frame = as_frame(rows)
    raw = raw_features(frame, encoder.schema)
    served = loaded(**{n: tf.constant(raw[n], spec.dtype) for n, spec in encoder.raw_specs().items()})
    for key, values in encoder.encode(frame).items():
        np.testing.assert_array_equal(values, served[key].numpy())


def test_infinite_numbers_are_refused_in_a_frame_and_missing_in_a_request() -> None:
    encoder = everything()
    frame = as_frame([("a", "a", "a", "a", 1, 1, np.inf, 0.0, 0)])
    with pytest.raises(htl.InputError, match=r"column 'x', row 0 .*finite"):
        encoder.encode(frame)
    raw = raw_features(frame.assign(x=0.0), encoder.schema) | {"x": np.asarray([np.inf], np.float32)}
    encoded = _graph(encoder)({n: tf.constant(raw[n], spec.dtype) for n, spec in encoder.raw_specs().items()})
    assert encoded["numeric"][0, encoder.value_columns["x"]] == 0.0


def test_everything_survives_save_and_load(tmp_path: Path) -> None:
    encoder = everything()
    encoder.save(tmp_path / "encoder.json")
    loaded = htl.FeatureEncoder.load(tmp_path / "encoder.json")
    assert loaded.layout == encoder.layout
    frame = as_frame([("a", "b", "a,b", "7", 7, 7, 1.0, 1.0, 0)])
    np.testing.assert_array_equal(loaded.encode(frame)["ids"], encoder.encode(frame)["ids"])


def test_an_error_beyond_the_first_chunk_names_the_row_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htlnet_tf.encoding.encoder._CHUNK_ROWS", 2)
    encoder, frame = fitted([htl.Categorical("c", min_count=1)], {"c": [1, 2, 3, 4, 5]})
    assert encoder.encode(frame)["ids"].tolist() == [[2], [3], [4], [5], [6]]
    with pytest.raises(htl.InputError, match=r"column 'c', row 3 .*received 'x'"):
        encoder.encode(frame.assign(c=pd.Series([1, 2, 3, "x", 5], dtype=object)))
