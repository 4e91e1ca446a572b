"""The parts of the inspection alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from htlnet_tf.inspection import names
from htlnet_tf.inspection.leakage import auc, out_of_fold_means, spearman
from htlnet_tf.inspection.lists import find_separator, measure_lists
from htlnet_tf.inspection.tables import bar, number, percent
from htlnet_tf.inspection.values import MISSING_HASH, read_column


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40))
def test_auc_and_spearman_are_those_of_the_libraries(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], float)
    if 0 < labels.sum() < len(labels):
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    if np.ptp(scores) and 0 < labels.sum() < len(labels):
        assert spearman(scores, labels) == pytest.approx(spearmanr(scores, labels).statistic)


def test_out_of_fold_means_do_not_see_their_own_label() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2000).astype(float)
    ids = np.arange(2000).astype(np.uint64)
    np.testing.assert_allclose(out_of_fold_means(ids, labels), labels.mean())
    # Two rows per id with labels of their own: the label of one says nothing of the other.
    assert abs(auc(labels == 1, out_of_fold_means(ids // np.uint64(2), labels)) - 0.5) < 0.05
    # A code that is the label.
    assert auc(labels == 1, out_of_fold_means(labels.astype(np.uint64), labels)) == 1.0


@pytest.mark.parametrize(
    ("texts", "separator"),
    [
        (["a,b", "b,c", "a", "c,a"], ","),
        (["a|b", "b|c", "c|a"], "|"),
        (["a;b", "b;c", "c;a"], ";"),
        (["a b", "b c", "c a", "a c b"], " "),
        (["(0,10]", "(10,50]", "[50,100)", "0"], None),
        (["New York", "New Jersey", "Los Angeles", "Boston"], None),
        (["full_active", "low_active"], None),
        (["low active", "full active", "middle active"], None),
    ],
)
def test_separators(texts: list[str], separator: str | None) -> None:
    assert find_separator(dict.fromkeys(texts, 10)) == separator


def test_an_accident_is_no_separator() -> None:
    assert find_separator({"a": 10_000, "b": 10_000, "a,b": 1, "b,a": 1}) is None


def test_lengths_of_lists() -> None:
    # 90 rows with one value, 6 with two, 4 with three: 95 % have at most two.
    found = measure_lists({"a": 90, "a, b": 6, "b,c,": 0, "a,b,c": 4}, ",")
    assert (found.pieces, found.length, found.longest) == (3, 2, 3)
    assert found.mean_length == pytest.approx((90 + 12 + 12) / 100)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *dict.fromkeys(
            ["is_click", "clicked", "ad_click", "long_view", "is_like", "purchase_time", "stay_time", "watchTime"],
            True,
        ).items(),
        *dict.fromkeys(
            ["follow_user_num", "fans_user_num", "hist_click", "user_click_7d", "price", "is_live_streamer", "tab",
             "video_duration", "clicks_last_30d", "user_id", "playlist_id", "review"],
            False,
        ).items(),
    ],
)  # fmt: skip
def test_names_of_outcomes(name: str, expected: bool) -> None:
    assert names.is_outcome_like(name) is expected


@pytest.mark.parametrize(
    ("name", "group"),
    [("user_id", "user"), ("customerAge", "user"), ("fans_user_num", "user"), ("item_user_count", "item"),
     ("hour", "context"), ("device_type", "context"), ("video_tab", "item"), ("price", "item")],
)  # fmt: skip
def test_groups_by_name(name: str, group: str) -> None:
    assert names.group_of(name) == group


def test_names_of_users() -> None:
    alike = ["user_id", "userId", "uid", "customer", "visitor_uuid", "account-key", "memberid"]
    others = ["user_age", "item_id", "user_city_id", "author_id", "users_seen", "id"]
    assert [names.is_user_id(name) for name in (*alike, *others)] == [True] * len(alike) + [False] * len(others)


def test_units_by_name() -> None:
    assert [names.unit_of(n) for n in ("play_time_ms", "watch_sec", "spend_usd", "spend")] == ["ms", "s", "USD", None]


def test_equal_values_have_equal_hashes_in_every_dtype() -> None:
    threes = [
        pd.Series([3, 0]),
        pd.Series([3.0, -0.0]),
        pd.Series([3, 0], dtype="Int64"),
        pd.Series([3, 0], dtype="uint8"),
        pd.Series([3, 0], dtype=object),
        pd.Series([3, 0], dtype="category"),
    ]
    expected = read_column(threes[0])
    for column in threes[1:]:
        np.testing.assert_array_equal(read_column(column).hashes, expected.hashes)
        np.testing.assert_array_equal(read_column(column).codes, expected.codes)
    texts = [pd.Series(["3", "0"], dtype=dtype) for dtype in ("str", object, "category")]
    for column in texts:
        np.testing.assert_array_equal(read_column(column).hashes, read_column(texts[0]).hashes)
    assert set(read_column(texts[0]).hashes).isdisjoint(expected.hashes)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1.5, np.nan]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series([True, None], dtype="boolean"),
        pd.Series(["a", ""]),
        pd.Series(["a", None], dtype="category"),
        pd.Series([["a"], []]),
        pd.Series([["a"], None]),
        pd.to_datetime(pd.Series(["2022-04-25", None])),
        pd.to_datetime(pd.Series(["2022-04-25", None])).dt.tz_localize("Asia/Shanghai"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_missing_in_every_dtype(column: pd.Series) -> None:
    values = read_column(column)
    assert values.missing.tolist() == [False, True]
    assert values.hashes[1] == MISSING_HASH
    assert read_column(column.iloc[1:]).kind == "empty"


def test_numbers_for_people() -> None:
    shares = [0.0, 1.0, 0.00001, 0.0025, 0.4512, 0.99999, None]
    assert [percent(s) for s in shares] == ["0 %", "100 %", "<0.01 %", "0.25 %", "45.1 %", ">99.9 %", "-"]
    assert [number(v) for v in (0.0, 12345.6, 0.1234, 3.0, None)] == ["0", "12,346", "0.1234", "3", "-"]
    assert (bar(10, 10), bar(0, 10), bar(1, 10**6)) == ("█" * 20, "", "▏")
