"""Encoded rows as matrices; expected values are by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.encoded import encode_rows
from htlnet_tf.judging.references import design_matrix
from htlnet_tf.judging.references.design_matrix import LinearMatrix, TreeMatrix, fields_without_means, id_columns

TARGETS = [htl.Binary("click"), htl.Continuous("spend")]
ROWS = pd.DataFrame(
    {
        "tab": ["a", "a", "b", "a"],
        "item": ["u", "v", "w", "u"],
        "tag": ["x", "x,y,x", "", "y"],
        "age": [1.0, 2.0, 3.0, 4.0],
        "click": [1, 0, 1, 0],
        "spend": [1.0, 0.0, 2.0, 0.0],
    }
)


def features(schema: htl.Schema) -> tuple[htl.FeatureEncoder, dict[str, np.ndarray]]:
    encoder = htl.FeatureEncoder.fit(schema, ROWS)
    return encoder, encode_rows(ROWS, encoder).features


@pytest.fixture
def three_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of three values and a row for unknown ones is large."""
    monkeypatch.setattr(design_matrix, "MAX_CATEGORIES", 3)


def test_small_fields_are_categories_and_lists_are_indicators() -> None:
    schema = htl.Schema(
        features=[
            htl.Numeric("age"),
            htl.Categorical("tab", min_count=1),
            htl.Categorical("tag", separator=",", min_count=1),
        ],
        targets=TARGETS,
    )
    encoder, encoded = features(schema)
    matrix = TreeMatrix(encoder)
    found = matrix(encoded)
    assert matrix.categorical == [1]
    np.testing.assert_allclose(found[:, 0], (np.arange(1, 5) - 2.5) / np.sqrt(1.25), rtol=1e-6)
    # Row 0 of a block is for unknown values; the vocabulary follows, the most frequent value first.
    assert found[:, 1].tolist() == [1, 1, 2, 1]
    # Unknown, missing, x, y: x twice in a row is once 1, and padding is nothing.
    assert found[:, 2:].tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert found.dtype == np.float32


@pytest.mark.usefixtures("three_are_many")
def test_a_large_field_is_a_number_or_its_statistics() -> None:
    item = htl.Categorical("item", min_count=1)
    schema = htl.Schema(features=[item], targets=TARGETS)
    encoder, encoded = features(schema)
    matrix = TreeMatrix(encoder)
    assert matrix(encoded).tolist() == [[1], [2], [3], [1]]  # u is the most frequent
    assert matrix.categorical == []
    # The count by the value says too little to stand for it, a target's mean says enough.
    counted, encoded = features(htl.Schema(features=[item, htl.CountEncoding(of="item")], targets=TARGETS))
    assert TreeMatrix(counted)(encoded)[:, 1].tolist() == [1, 2, 3, 1]
    known, encoded = features(
        htl.Schema(features=[item, htl.TargetEncoding(of="item", target="click")], targets=TARGETS)
    )
    np.testing.assert_array_equal(TreeMatrix(known)(encoded), encoded["numeric"])
    assert [column.has_mean for column in id_columns(known)] == [True]
    assert [fields_without_means(e) for e in (encoder, counted, known)] == [["item"], ["item"], []]


@pytest.mark.usefixtures("three_are_many")
def test_buckets_are_numbers_however_many() -> None:
    tab = htl.Categorical("tab", min_count=1)
    encoder, encoded = features(htl.Schema(features=[tab, htl.Numeric("age", quantile_buckets=4)], targets=TARGETS))
    matrix = TreeMatrix(encoder)
    assert matrix(encoded).tolist() == [[1, 1], [1, 2], [2, 3], [1, 4]]
    assert matrix.categorical == [0]


@pytest.mark.usefixtures("three_are_many")
def test_linear_models_have_numbers_and_small_fields() -> None:
    schema = htl.Schema(
        features=[htl.Categorical("item", min_count=1), htl.Numeric("age"), htl.Categorical("tab", min_count=1)],
        targets=TARGETS,
    )
    encoder, encoded = features(schema)
    found = LinearMatrix(encoder)(encoded).toarray()
    np.testing.assert_allclose(found[:, 0], encoded["numeric"][:, 0])
    assert found[:, 1:].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert found.dtype == np.float64
