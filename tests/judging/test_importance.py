"""Permutation importance on models whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.judging import importance as module
from htlnet_tf.judging.importance import importance_table


class OnlyThePrice:
    """Scores by the column of the price alone, without towers."""

    calibration = None

    def __init__(self, schema: htl.Schema, encoder: Any) -> None:
        self.schema, self.encoder, self.members = schema, encoder, (self,)
        self.column = encoder.value_columns["price"]

    def embedding(self, ids: tf.Tensor) -> tf.Tensor:
        return ids

    def tower_outputs(self, embedded: tf.Tensor, batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        return [batch["numeric"][:, self.column][:, 0]]

    def predictions_of(self, outputs: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        (price,) = outputs
        probability = tf.sigmoid(price)
        return {"click": probability, "buy": probability, "spend": tf.exp(price)}


def test_what_is_not_read_is_worth_nothing(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    rows = frame.assign(buy=(frame["price"] > 20).astype(int), spend=frame["price"])
    lines: list[str] = []
    table = importance_table(OnlyThePrice(schema, encoder), rows, write=lines.append)  # type: ignore[arg-type]
    worth = table.set_index(["column", "group", "target", "metric"])["loss"]
    # In the right order the AUC is 1 and Spearman's correlation too; permuted, about 0.5 and 0.
    assert worth["price", "item", "buy", "auc"] == pytest.approx(0.5, abs=0.1)
    assert worth["price", "item", "spend", "spearman"] == pytest.approx(1.0, abs=0.15)
    assert worth["", "item", "buy", "auc"] == pytest.approx(0.5, abs=0.1)
    others = table[~table["column"].isin(["price", ""]) | table["group"].eq("user")]
    assert (others["loss"] == 0).all()
    assert (others["spread"] == 0).all()
    assert set(table["column"]) == {"user_id", "item_id", "tag", "age", "price", "tab", ""}
    assert set(table.loc[table["column"] == "", "group"]) == {"user", "item"}  # context has a single column
    assert lines == []


def test_what_is_made_of_a_column_moves_with_it(frame: pd.DataFrame) -> None:
    """A cross is another pair where one of its columns moves: encoded by slices, it would stay."""
    schema = htl.Schema(
        features=[
            htl.Categorical("user_id", group="user"),
            htl.Categorical("tab", group="context"),
            htl.Cross(name="user_tab", of=("user_id", "tab"), num_buckets=128),
            htl.Numeric("price"),
        ],
        targets=[htl.Binary("click"), htl.Continuous("spend")],
        statistics=htl.HistoryStatistics(of=["user_id"]),
    )
    encoder = htl.FeatureEncoder.fit(schema, frame)
    order = np.random.default_rng(0).permutation(len(frame))

    class Model:
        pass

    model: Any = Model()
    model.schema, model.encoder = encoder.schema, encoder
    encoded = encoder.encode(frame)
    for sources in ({"user_id"}, {"tab"}, {"user_id", "tab"}, {"price"}):
        moved = frame.assign(**{source: frame[source].to_numpy()[order] for source in sources})
        found = module._permuted(model, frame, encoded, frozenset(sources), order)
        for name, expected in encoder.encode(moved).items():
            np.testing.assert_array_equal(found[name], expected)


def test_the_same_seed_gives_the_same(make_model: Callable[..., Any], frame: pd.DataFrame) -> None:
    model = make_model()
    first, again = (importance_table(model, frame.head(100)) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    other = importance_table(model, frame.head(100), seed=1, repeats=1)
    assert not np.allclose(other["loss"], first["loss"])
    assert other["spread"].isna().all()


def test_metrics_that_rows_leave_undefined_are_left_out(make_model: Callable[..., Any], frame: pd.DataFrame) -> None:
    rows = frame.head(50).assign(buy=0)
    table = importance_table(make_model(), rows, repeats=1)
    assert "buy" not in set(table["target"])
    assert {"click", "spend"} <= set(table["target"])
    assert table["loss"].notna().all()
