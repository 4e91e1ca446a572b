"""Cumulative gains, against sums made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import htlnet_tf as htl
from htlnet_tf.judging.gains import gains_table

SCHEMA = htl.Schema(
    features=[htl.Categorical("user_id")], targets=[htl.Binary("click"), htl.Continuous("spend", unit="EUR")]
)


def frames(click: list, p: list, spend: list, amount: list) -> tuple[pd.DataFrame, pd.DataFrame]:
    labels = pd.DataFrame({"click": click, "spend": spend})
    return labels, pd.DataFrame({"click": p, "spend": amount})


def curve(table: pd.DataFrame, target: str, column: str = "captured") -> dict[float, float]:
    rows = table[table["target"] == target]
    return dict(zip(rows["top"].round(4), rows[column], strict=True))


def test_the_top_of_the_ranking_by_hand() -> None:
    labels, predictions = frames([1, 0, 1, 0], [0.9, 0.8, 0.2, 0.1], [6.0, 0.0, 4.0, 0.0], [1.0, 2.0, 5.0, 0.0])
    table = gains_table(SCHEMA, labels, predictions, points=4)
    assert list(table["target"].unique()) == ["click", "spend"]
    # Rows in order of P(click): 1, 0, 1, 0; of the amount: 4, 0, 6, 0 out of 10.
    assert curve(table, "click") == pytest.approx({0: 0, 0.01: 0.02, 0.25: 0.5, 0.5: 0.5, 0.75: 1, 1: 1})
    assert curve(table, "spend") == pytest.approx({0: 0, 0.01: 0.016, 0.25: 0.4, 0.5: 0.4, 0.75: 1, 1: 1})
    assert curve(table, "spend", "perfect") == pytest.approx({0: 0, 0.01: 0.024, 0.25: 0.6, 0.5: 1, 0.75: 1, 1: 1})


def test_equal_predictions_share_their_labels() -> None:
    labels, predictions = frames([1, 0, 0, 0], [0.5] * 4, [1.0, 0.0, 0.0, 3.0], [2.0] * 4)
    table = gains_table(SCHEMA, labels, predictions, points=4)
    for target in ("click", "spend"):
        assert curve(table, target) == pytest.approx({top: top for top in (0, 0.01, 0.25, 0.5, 0.75, 1)})


def test_of_nothing_there_are_no_shares() -> None:
    labels, predictions = frames([0, 0], [0.5, 0.2], [0.0, 0.0], [2.0, 1.0])
    assert gains_table(SCHEMA, labels, predictions).empty
    with pytest.raises(htl.InputError, match="points"):
        gains_table(SCHEMA, labels, predictions, points=0)


@given(
    npst.arrays(np.float64, 20, elements=st.floats(0, 100, width=32)),
    npst.arrays(np.float64, 20, elements=st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    st.randoms(use_true_random=False),
)
def test_a_curve_rises_to_one_and_knows_no_order_of_rows(spend: np.ndarray, amount: np.ndarray, random: object) -> None:
    spend[0] = 1.0
    labels, predictions = frames([0, 1] * 10, [0.5] * 20, list(spend), list(amount))
    captured = gains_table(SCHEMA, labels, predictions).query("target == 'spend'")
    assert captured["captured"].iloc[-1] == pytest.approx(1)
    assert (np.diff(captured["captured"]) >= -1e-12).all()
    assert (captured["captured"] <= captured["perfect"] + 1e-9).all()
    order = np.arange(20)
    random.shuffle(order)  # type: ignore[attr-defined]
    again = gains_table(SCHEMA, labels.iloc[order], predictions.iloc[order]).query("target == 'spend'")
    np.testing.assert_allclose(again["captured"], captured["captured"], atol=1e-9)
