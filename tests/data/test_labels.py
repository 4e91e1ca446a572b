"""Target columns -> labels, masks and weights; expected values by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.data.labels import label_values, read_labels, require_observed
from htlnet_tf.errors import InputError, RowError
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Schema

FEATURES = [Categorical("c")]
SCHEMA = Schema(features=FEATURES, targets=[Binary("click"), Multiclass("stars", num_classes=3), Continuous("spend")])
FUNNEL = Schema(
    features=FEATURES,
    targets=[
        Binary("click"),
        Binary("buy", observed_if="click", sample_weight="importance"),
        Continuous("spend", observed_if="buy"),
    ],
    sample_weight="share",
)
GOOD = {"c": [1, 2], "click": [0, 1], "stars": [0, 2], "spend": [0.0, 3.5]}
FOUR = {
    "click": [1, 1, 0, None],
    "buy": [1, 0, 1, 1],
    "spend": [5.0, 6.0, np.nan, 8.0],
    "share": [1.0, 0.5, 2.0, 1.0],
    "importance": [3, 4, 5, 0],
}


def test_complete_labels_have_no_weights() -> None:
    labels, weights = label_values(pd.DataFrame(GOOD), SCHEMA)
    assert weights is None
    assert [a.dtype for a in labels.values()] == [np.float32, np.int32, np.float64]
    assert labels["spend"].tolist() == [0.0, 3.5]


@pytest.mark.parametrize(
    "change",
    [
        {"click": [np.nan, 1]},
        {"click": [None, True]},
        {"click": pd.array([None, 1], dtype="Int64")},
        {"click": pd.array([None, True], dtype="boolean")},
        {"click": [None, "1"]},
        {"stars": [None, 2]},
        {"spend": [np.nan, 3.5]},
        {"spend": pd.array([None, 3.5], dtype="Float64")},
    ],
)
def test_a_missing_label_masks_its_target_in_its_row(change: dict[str, Any]) -> None:
    labels, weights = label_values(pd.DataFrame(GOOD | change), SCHEMA)
    assert weights is not None
    for name in ("click", "stars", "spend"):
        expected = [0.0, 1.0] if name in change else [1.0, 1.0]
        assert weights[name].dtype == np.float32
        assert weights[name].tolist() == expected
        assert labels[name].dtype == label_values(pd.DataFrame(GOOD), SCHEMA)[0][name].dtype
        assert labels[name].tolist()[0] == 0
        assert labels[name].tolist()[1] == GOOD[name][1]


def test_a_column_without_any_label() -> None:
    labels, weights = label_values(pd.DataFrame(GOOD | {"click": [None, None]}), SCHEMA)
    assert weights is not None
    assert weights["click"].tolist() == labels["click"].tolist() == [0.0, 0.0]


def test_observed_if_and_weights() -> None:
    labels, weights = label_values(pd.DataFrame(FOUR), FUNNEL)
    assert weights is not None
    # click: missing in the last row; share alone.
    assert weights["click"].tolist() == [1.0, 0.5, 2.0, 0.0]
    # buy: counts where click is 1, by share * importance.
    assert weights["buy"].tolist() == [3.0, 2.0, 0.0, 0.0]
    assert labels["buy"].tolist() == [1.0, 0.0, 0.0, 0.0]
    # spend: where buy is 1 and counts itself, and there is a label.
    assert weights["spend"].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert labels["spend"].tolist() == [5.0, 0.0, 0.0, 0.0]
    # The weight 0 leaves a row out of the loss, not out of what was observed.
    zero = pd.DataFrame(FOUR | {"share": [0, 1, 1, 1]})
    assert label_values(zero, FUNNEL)[0]["spend"].tolist() == [0.0, 0.0, 0.0, 0.0]
    assert read_labels(zero, FUNNEL).observed["spend"].tolist() == [True, False, False, False]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, None]),
            st.sampled_from([0, 1, 2, None]),
            st.none() | st.integers(0, 9),
            st.integers(0, 4).map(lambda n: n / 4),
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60)
def test_every_row_is_treated_by_itself(rows: list[tuple[Any, ...]]) -> None:
    schema = Schema(
        features=FEATURES,
        targets=[Binary("click"), Multiclass("stars", num_classes=3, observed_if="click"), Continuous("spend")],
        sample_weight="share",
    )
    frame = pd.DataFrame(rows, columns=["click", "stars", "spend", "share"])
    labels, weights = label_values(frame, schema)
    assert weights is not None
    for i, (click, stars, spend, share) in enumerate(rows):
        for name, label in (("click", click), ("stars", stars if click == 1 else None), ("spend", spend)):
            counts = label is not None and share > 0
            assert weights[name][i] == (share if counts else 0)
            assert labels[name][i] == (label if counts else 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"click": [0, 2]}, r"column 'click', row 1 .*0 or 1; received 2"),
        ({"click": [None, 2]}, r"column 'click', row 1 .*0 or 1; received 2"),
        ({"click": ["yes", "no"]}, r"column 'click', row 0 .*must be a number; received 'yes'"),
        ({"stars": [0, 3]}, r"column 'stars', row 1 .*class in 0 .. 2; received 3"),
        ({"spend": [np.nan, -1.0]}, r"column 'spend', row 1 .*must not be negative"),
        ({"spend": [np.inf, 1.0]}, r"column 'spend', row 0 .*must be finite"),
    ],
)
def test_bad_labels_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_values(pd.DataFrame(GOOD | change), SCHEMA)


@pytest.mark.parametrize("value", [-1.0, np.nan, None, np.inf, "heavy", 1e39])
def test_bad_weights_are_named(value: Any) -> None:
    frame = pd.DataFrame(FOUR | {"importance": pd.Series([1, 2, value, value], dtype=object)})
    with pytest.raises(RowError, match=r"column 'importance', row 2 .*finite number, not negative.*1 more") as caught:
        label_values(frame, FUNNEL)
    assert caught.value.rows.tolist() == [False, False, True, True]


def test_a_product_of_weights_must_be_finite() -> None:
    frame = pd.DataFrame(FOUR | {"importance": [1, 1e30, 1, 1], "share": [1, 1e30, 1, 1]})
    with pytest.raises(RowError, match=r"column 'importance', row 1 .*product .* target 'buy'"):
        label_values(frame, FUNNEL)


def test_missing_columns() -> None:
    frame = pd.DataFrame(FOUR)
    with pytest.raises(InputError, match="targets: column 'buy' is missing"):
        label_values(frame.drop(columns="buy"), FUNNEL)
    with pytest.raises(InputError, match="sample weights: column 'share' is missing"):
        label_values(frame.drop(columns="share"), FUNNEL)
    assert read_labels(frame.drop(columns=["share", "importance"]), FUNNEL).observed["buy"].sum() == 2


def test_every_target_needs_a_label() -> None:
    require_observed(FUNNEL, {"click": 1, "buy": 2, "spend": 3}, purpose="training rows")
    with pytest.raises(InputError, match=r"training rows: target 'buy' .* without a single one in a row where 'click'"):
        require_observed(FUNNEL, {"click": 1, "buy": 0, "spend": 3}, purpose="training rows")


def test_negative_amounts_can_be_allowed() -> None:
    schema = Schema(features=FEATURES, targets=[Binary("click"), Continuous("gain", non_negative=False)])
    assert read_labels(pd.DataFrame({"click": [0], "gain": [-2.0]}), schema).values["gain"].tolist() == [-2.0]


def test_a_step_that_does_not_count_opens_no_later_one() -> None:
    targets = [Binary("click"), Binary("conv", observed_if="click"), Continuous("y", observed_if="conv")]
    frame = pd.DataFrame({"click": [0, 1, 1], "conv": [1, 1, 0], "y": [1.0, 2.0, 3.0]})
    observed = read_labels(frame, Schema(features=FEATURES, targets=targets)).observed
    assert observed["conv"].tolist() == [False, True, True]
    assert observed["y"].tolist() == [False, True, False]
