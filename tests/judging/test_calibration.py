"""Expected numbers are worked out by hand beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.judging.calibration import calibration_table
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Schema

SCHEMA = Schema(
    features=(Categorical("user_id"),),
    targets=(Binary("click"), Multiclass("stars", num_classes=3), Continuous("spend", observed_if="click")),
)


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = {"click": [1, 0, 1, 0, 1], "stars": [2, 0, 1, 1, None], "spend": [8.0, 0.0, 2.0, 0.0, 3.0]}
    predictions = {
        "click": [0.75, 0.25, 0.5, 0.125, 0.5],
        "stars_0": [0.25, 0.5, 0.125, 0.625, 0.25],
        "stars_1": [0.25, 0.25, 0.75, 0.25, 0.5],
        "stars_2": [0.5, 0.25, 0.125, 0.125, 0.25],
        "spend": [6.0, 0.0, 1.0, 0.0, 2.0],
    }
    return pd.DataFrame(labels), pd.DataFrame(predictions)


def of(target: str, **arguments: Any) -> list[tuple[Any, ...]]:
    table = calibration_table(SCHEMA, *tables(), **arguments)
    return [tuple(row[1:]) for row in table[table["target"] == target].itertuples(index=False)]


def test_binary_by_hand() -> None:
    # Sorted: .125 (0), .25 (0), .5 (1), then .5 (1), .75 (1); five rows in two bins are three and two. The labels
    # 0 0 1 have the mean 1/3 and the sample variance (1/9 + 1/9 + 4/9) / 2 = 1/3.
    low, high = of("click", bins=2)
    assert low == (0, 3, pytest.approx(0.875 / 3), pytest.approx(1 / 3), pytest.approx(np.sqrt(1 / 3 / 3)))
    assert high == (1, 2, 0.625, 1.0, 0.0)


def test_the_core_is_over_observed_rows() -> None:
    # Rows 2, 4, 0 by prediction 1, 2, 6 with the labels 2, 3, 8: std of 2 and 3 is sqrt(1/2), of a single one unknown.
    low, high = of("spend", bins=2)
    assert low == (0, 2, 1.5, 2.5, pytest.approx(np.sqrt(1 / 2 / 2)))
    assert high[:4] == (1, 1, 6.0, 8.0)
    assert np.isnan(high[4])


def test_multiclass_is_about_its_most_likely_class() -> None:
    # Rows 0 and 1 predict 2 and 0 with .5, both right; 3 predicts 0 with .625, wrong; 2 predicts 1 with .75, right. The
    # last row has no label. Labels 0 and 1: std sqrt(1/2).
    assert of("stars", bins=2) == [(0, 2, 0.5, 1.0, 0.0), (1, 2, 0.6875, 0.5, pytest.approx(0.5))]


def test_fewer_rows_than_bins_and_equal_predictions() -> None:
    table = calibration_table(SCHEMA, *tables())
    assert table.groupby("target", sort=False)["rows"].agg(list).to_dict() == {
        "click": [1] * 5, "stars": [1] * 4, "spend": [1] * 3,
    }  # fmt: skip
    # Equal predictions stay in the order of the rows: click .5 of row 2 is before that of row 4.
    assert table[table["target"] == "click"]["mean_label"].tolist() == [0, 0, 1, 1, 1]
    assert table.dtypes.map(str).tolist()[1:] == ["int64", "int64", "float64", "float64", "float64"]
    assert list(table) == ["target", "bin", "rows", "mean_prediction", "mean_label", "std_error"]


def test_a_target_without_labels_has_no_rows() -> None:
    labels, predictions = tables()
    table = calibration_table(SCHEMA, labels.assign(click=np.nan), predictions)
    assert set(table["target"]) == {"stars"}  # spend counts only where a click was seen


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=50),
    st.integers(1, 12),
)
@settings(max_examples=40)
def test_bins_are_equal_in_order_and_lose_nothing(rows: list[tuple[int, int]], bins: int) -> None:
    schema = Schema(features=SCHEMA.features, targets=(Binary("c"), Continuous("y")))
    labels = pd.DataFrame({"c": [r[0] for r in rows], "y": 0.0})
    predictions = pd.DataFrame({"c": [r[1] / 8 for r in rows], "y": 0.0})
    table = calibration_table(schema, labels, predictions, bins=bins)
    table = table[table["target"] == "c"]
    assert len(table) == min(bins, len(rows))
    assert table["rows"].max() - table["rows"].min() <= 1
    assert table["mean_prediction"].is_monotonic_increasing
    assert (table["rows"] * table["mean_label"]).sum() == pytest.approx(labels["c"].sum())
    assert (table["rows"] * table["mean_prediction"]).sum() == pytest.approx(predictions["c"].sum())


def test_refuses_bad_input() -> None:
    labels, predictions = tables()
    with pytest.raises(InputError, match="bins must be at least 1, received 0"):
        calibration_table(SCHEMA, labels, predictions, bins=0)
    with pytest.raises(InputError, match=r"'click', row 1 .* must be probabilities"):
        calibration_table(SCHEMA, labels, predictions.assign(click=[0, 2, 0, 0, 0]))
