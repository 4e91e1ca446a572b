"""The best items with a model in memory: those that `predict` of whole rows scores highest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError

USER = {"user_id": "u3", "age": None, "tab": 2}


@pytest.fixture
def items(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["item_id", "tag", "price"]][:50].set_index(np.array([f"row {i}" for i in range(50)]))


def test_it_is_the_order_of_predict(ranked_model: Any, items: pd.DataFrame) -> None:
    whole = items.assign(user_id="u3", age=np.nan, tab=2)
    expected = htl.predict(ranked_model, whole).sort_values("score", ascending=False, kind="stable")
    found = htl.rank(ranked_model, USER, items, 8)
    assert list(found.columns) == ["score", "click", "buy", "spend"]
    pd.testing.assert_frame_equal(found, expected.head(8)[list(found.columns)], rtol=1e-5)
    assert len(htl.rank(ranked_model, USER, items, 500)) == 50
    assert len(htl.rank(ranked_model, USER, items)) == 10


def test_forms_of_user_and_items(ranked_model: Any, items: pd.DataFrame) -> None:
    expected = htl.rank(ranked_model, USER, items, 5)
    row = items.head(1).assign(**USER)  # with columns of the items too
    pd.testing.assert_frame_equal(htl.rank(ranked_model, row, items.assign(more=1), 5), expected)
    pd.testing.assert_frame_equal(htl.rank(ranked_model, pd.Series(USER), items, np.int64(5)), expected)
    by_position = expected.set_index(items.index.get_indexer(expected.index))
    for form in (items.to_dict("records"), items.to_dict("list"), {n: c.to_numpy() for n, c in items.items()}):
        pd.testing.assert_frame_equal(htl.rank(ranked_model, USER, form, 5), by_position)


def test_equal_items_keep_their_order(ranked_model: Any, items: pd.DataFrame) -> None:
    twice = pd.concat([items[:3]] * 2).reset_index(drop=True)
    found = htl.rank(ranked_model, USER, twice, 6)
    assert all(b - a == 3 for a, b in zip(found.index[::2], found.index[1::2], strict=True))


def test_what_cannot_be_ranked_is_said(ranked_model: Any, make_model: Any, items: pd.DataFrame) -> None:
    for k in (0, -1, 1.5, True, "3"):
        with pytest.raises(InputError, match="k, the number of items asked for, must be a whole number of at least 1"):
            htl.rank(ranked_model, USER, items, k)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the model's schema declares no ranking"):
        htl.rank(make_model(htl.SharedBottom), USER, items)
    with pytest.raises(InputError, match="column 'tab' is missing in the user"):
        htl.rank(ranked_model, {"user_id": "u1", "age": 1.0}, items)
    with pytest.raises(InputError, match="column 'price' is missing"):
        htl.rank(ranked_model, USER, items.drop(columns="price"))
    with pytest.raises(InputError, match="column 'tag' is missing in row 1 of the items"):
        htl.rank(ranked_model, USER, [items.iloc[0].to_dict(), {"item_id": 1, "price": 1.0}])
    with pytest.raises(InputError, match="at least one item is needed"):
        htl.rank(ranked_model, USER, items[:0])
    with pytest.raises(InputError, match="the user must be one row, but the table of the user has 2"):
        htl.rank(ranked_model, items[:2].assign(**USER), items)
    with pytest.raises(InputError, match="every column of the items needs as many values"):
        htl.rank(ranked_model, USER, {"item_id": [1, 2], "tag": ["a"], "price": [1.0, 2.0]})
    some = {"tag": ["a"], "price": [1.0]}
    for wrong in (5, "5", None):
        with pytest.raises(InputError, match=r"'item_id' of the items must be a list or an array, but is '?[5N]"):
            htl.rank(ranked_model, USER, {"item_id": wrong} | some)
    with pytest.raises(
        InputError, match=r"column 'item_id' of the items must be one-dimensional, but has shape \(1, 1"
    ):
        htl.rank(ranked_model, USER, {"item_id": np.array([[1]])} | some)
    with pytest.raises(InputError, match="column 'item_id' of the items is missing"):
        htl.rank(ranked_model, USER, some)
    for wrong in ([1, 2], ["item_id"], [None]):
        with pytest.raises(InputError, match="every item must be a dict of column and value, but item 0 is"):
            htl.rank(ranked_model, USER, wrong)  # type: ignore[arg-type]
    for wrong in (3, "items"):
        with pytest.raises(InputError, match="items must be a frame"):
            htl.rank(ranked_model, USER, wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the user must be a mapping"):
        htl.rank(ranked_model, 3, items)  # type: ignore[arg-type]
