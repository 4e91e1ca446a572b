"""The best candidates of each user of files, by an exported version in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from tests.conftest import htlnet, small_frame

USER = ["user_id", "age", "tab"]
ITEM = ["item_id", "tag", "price"]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two files of users, and candidates in two files."""
    for name, columns, counts in (("users", USER, (3, 2)), ("items", ITEM, (40, 30))):
        (tmp_path / name).mkdir()
        for part, count in enumerate(counts):
            frame = small_frame(count, seed=part + count)[columns].assign(**{f"{name}_row": range(count)})
            frame.to_parquet(tmp_path / name / f"{part}.parquet", index=False)
    return tmp_path


@pytest.fixture
def grouped_models(ranked_model: Any, ranked_models: Path) -> Path:
    """MODELS in which the item's columns are of group item, as they are by default."""
    assert {f.name for f in ranked_model.schema.inputs if f.group == "item"} == set(ITEM)
    return ranked_models


def read(folder: Path) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))), ignore_index=True)


@pytest.mark.parametrize("by", [None, "click"])
def test_the_best_are_those_of_the_model(ranked_model: Any, grouped_models: Path, tables: Path, by: str | None) -> None:
    keep = ["users_row", "user_id", "items_row"]
    arguments = ["--input", str(tables / "users"), "--candidates", str(tables / "items"), "--rank", "4"]
    arguments += ["--keep", ",".join(keep), "--output", str(tables / "best"), *(["--by", by] if by else [])]
    assert htlnet("score", "--model", str(grouped_models / "m"), *arguments) == 0
    best, users, items = read(tables / "best"), read(tables / "users"), read(tables / "items")
    assert list(best) == [*keep, "rank", "click", "buy", "spend", "score"]
    assert best["rank"].tolist() == [1, 2, 3, 4] * 5
    assert best["users_row"].tolist() == np.repeat(users["users_row"], 4).tolist()
    for i, user in users.iterrows():
        found = best.iloc[4 * int(str(i)) : 4 * int(str(i)) + 4]
        product = items.assign(**{name: [user[name]] * len(items) for name in USER})
        scores = htl.predict(ranked_model, product).sort_values(by or "score", ascending=False, kind="stable")
        np.testing.assert_allclose(found[by or "score"], scores[by or "score"][:4], rtol=1e-5)
        np.testing.assert_allclose(found["spend"], scores["spend"][:4], rtol=1e-4)
        assert found["items_row"].tolist() == items["items_row"][scores.index[:4]].tolist()


def test_fewer_candidates_than_wanted_and_a_bad_user(grouped_models: Path, tables: Path) -> None:
    users = pd.read_parquet(tables / "users" / "0.parquet").assign(age=[1.0, np.inf, 2.0])
    users.to_parquet(tables / "users" / "0.parquet")
    ask = (grouped_models / "m", tables / "users" / "0.parquet", tables / "items" / "1.parquet")
    with pytest.raises(InputError, match=r"0.parquet, column 'age', row 1"):
        htl.rank_files(*ask, tables / "best", 100, keep=["users_row", "item_id"])
    done = htl.rank_files(*ask, tables / "best", 100, keep=["users_row", "item_id"], on_bad_rows="skip")
    assert done.bad_rows == 1
    best = read(tables / "best")
    assert best["users_row"].tolist() == [0] * 30 + [2] * 30
    assert best["rank"].tolist() == [*range(1, 31)] * 2
    htl.rank_files(*ask, tables / "best", 100, keep=["users_row", "item_id"], on_bad_rows="skip")
    with pytest.raises(InputError, match=r"made with other settings: k 100 there and 5 here"):
        htl.rank_files(*ask, tables / "best", 5, keep=["users_row", "item_id"], on_bad_rows="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k, the candidates that are wanted of each user, must be at least 1"),
        ({"by": "nothing"}, r"candidates are sorted by one of \['click', 'buy', 'spend', 'score'\]"),
        ({"keep": ["nothing"]}, "'nothing' to keep is in neither table"),
        ({"keep": ["user_id"]}, "keep a column of the candidates"),
        ({"keep": ["item_id", "score"]}, "'score' cannot be kept: a score has the same name"),
        ({"candidates": "users"}, "column 'item_id' is missing"),
    ],
)
def test_wrong_use_of_a_ranking(grouped_models: Path, tables: Path, change: dict[str, Any], message: str) -> None:
    candidates = tables / change.pop("candidates", "items")
    arguments = {"k": 3, "keep": ["users_row", "item_id"] if candidates.name == "items" else ["user_id"]} | change
    if candidates.name == "users":
        arguments["keep"] = ["users_row"]
        message = "in both tables|is missing"
    with pytest.raises(InputError, match=message):
        htl.rank_files(grouped_models / "m", tables / "users", candidates, tables / "best", **arguments)
    assert not (tables / "best").exists()
