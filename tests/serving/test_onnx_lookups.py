"""What is looked up beside an ONNX graph, against the encoder's own TensorFlow."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings

import htlnet_tf as htl
from htlnet_tf.encoding.kinds.cross import CrossKind, PairNumbers
from htlnet_tf.encoding.kinds.kind import Origins
from htlnet_tf.export.onnx.tables import save_tables
from htlnet_tf.serving.onnx.fingerprint import fingerprint64
from htlnet_tf.serving.onnx.folder import read_table
from htlnet_tf.serving.onnx.lookups import PairRows, ValueRows, in_table, rows_of, rows_of_pairs

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_TOKENS = st.lists(st.sampled_from(["a", " b", "c ", "", "never", "\tcode", "☃"]), max_size=6).map(",".join)


@given(_TEXT)
def test_the_fingerprint_is_tensorflows(text: str) -> None:
    # The op takes int64 for the number of buckets, so that the lower 62 bits are seen.
    assert fingerprint64(text) % 2**62 == int(tf.strings.to_hash_bucket_fast([text], 2**62)[0])


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 8, 16, 17, 32, 33, 64, 65, 128, 129, 200])
def test_the_fingerprint_of_every_length(size: int) -> None:
    text = "".join(chr(33 + i * 7 % 90) for i in range(size))
    assert fingerprint64(text) % 2**62 == int(tf.strings.to_hash_bucket_fast([text], 2**62)[0])


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> tuple[htl.FeatureEncoder, Path]:
    """An encoder of lists, the last ones of which are kept, and its tables."""
    values = ["a,b,☃", "a,b", "a,code", "", "b,a"] * 3
    frame = pd.DataFrame({"tags": values, "seen": values, "y": 1, "z": 1.0})
    schema = htl.Schema(
        features=[
            htl.Categorical("tags", separator=",", missing_values=("code",), min_count=1),
            htl.Sequence("seen", max_length=2, shares="tags"),
        ],
        targets=[htl.Binary("y"), htl.Continuous("z")],
    )
    folder = tmp_path_factory.mktemp("tables")
    return htl.FeatureEncoder.fit(schema, frame), folder


@settings(max_examples=30)
@given(st.lists(_TOKENS, min_size=1, max_size=5))
def test_lists_are_read_as_by_the_encoder(lists: tuple[htl.FeatureEncoder, Path], values: list[str]) -> None:
    encoder, folder = lists
    if not (folder / "tables").exists():
        save_tables(encoder, folder)
    texts = np.asarray(values, object)
    for i, name in enumerate(("tags", "seen")):
        kind = encoder.kinds[name]
        table = read_table(folder / f"tables/{i}.parquet", ("value", "row"))
        block = kind.blocks[name]
        lookup = ValueRows(name, "", block.unknown, block.missing, kind.padding[name], kind.learned.slots)
        find = in_table(table["value"], table["row"].to_numpy(np.int32), block.unknown)
        due = kind.rows_of(tf.constant(texts)).numpy()
        np.testing.assert_array_equal(rows_of(texts, kind.feature, lookup, find), due)


@pytest.mark.parametrize("has_grown", [False, True])
def test_hashed_pairs_are_those_of_the_encoder(has_grown: bool, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [f"a{i % 30}" for i in range(300)], "b": np.arange(300) % 20, "y": 1, "z": 1.0})
    schema = htl.Schema(
        features=[htl.Categorical("a"), htl.Categorical("b"), htl.Cross("ab", of=("a", "b"), num_buckets=50)],
        targets=[htl.Binary("y"), htl.Continuous("z")],
    )
    encoder = htl.FeatureEncoder.fit(schema, frame)
    kind = encoder.kinds["ab"]
    assert isinstance(kind, CrossKind) and kind.is_hashed
    if has_grown:
        new = [Origins(np.arange(size), np.arange(size) >= size - 3) for size in kind.sizes]
        kind.learned = PairNumbers.fitted(*kind.sizes).after(*new)
    lookup = save_tables(encoder, tmp_path)[-1]
    assert isinstance(lookup, PairRows) and (lookup.numbers is not None) == has_grown
    tables = [read_table(tmp_path / name, ("number",))["number"].to_numpy() for name in lookup.numbers or ()]
    starts = [kind.blocks[name].start for name in ("a", "b")]
    pairs = np.indices(kind.sizes).reshape(2, -1)
    rows = {name: (pairs[i] + starts[i]).astype(np.int32)[:, np.newaxis] for i, name in enumerate(("a", "b"))}
    due = kind.rows({}, {name: tf.constant(found) for name, found in rows.items()})["ab"].numpy()
    assert len(np.unique(due)) > 40
    np.testing.assert_array_equal(rows_of_pairs(lookup, tuple(tables), rows), due)
