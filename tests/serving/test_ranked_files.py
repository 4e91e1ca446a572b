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


def test_candidates_at_fault_are_left_out_and_told(
    ranked_model: Any, grouped_models: Path, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 40 candidates the first and the fourth are at fault, and a line before each: the others keep their places."""
    frame = pd.read_parquet(tables / "items" / "0.parquet").astype({"item_id": object})
    frame.loc[0, "item_id"], frame.loc[3, "price"] = "no number", -1.0
    lines = frame.to_csv(index=False).splitlines()
    (tables / "items.csv").write_text("\n".join([lines[0], "x", *lines[1:4], "x", *lines[4:]]) + "\n")
    rank = ["score", "--model", str(grouped_models / "m"), "--input", str(tables / "users"), "--rank", "50"]
    rank += ["--candidates", str(tables / "items.csv"), "--output", str(tables / "best")]
    rank += ["--keep", "users_row,items_row,item_id"]
    assert htlnet(*rank) == 2
    assert "items.csv', row 0: a row must have the 4 fields" in capsys.readouterr().err
    for _ in range(2):  # the second time the files are there
        assert htlnet(*rank, "--on_bad_rows", "skip") == 0
        assert "4 bad candidates were skipped; the first: " in capsys.readouterr().err
    assert pd.read_csv(tables / "best" / "_bad_candidates.csv")["row"].tolist() == [0, 1, 4, 5]
    best, users = read(tables / "best"), read(tables / "users")
    good = frame.drop(index=[0, 3])
    assert best["item_id"].dtype == np.int64 and len(best) == 38 * 5
    product = good.merge(users, how="cross").astype({"item_id": int})
    product["score"] = htl.predict(ranked_model, product)["score"]
    expected = product.astype({"items_row": str}).set_index(["users_row", "items_row", "item_id"])["score"]
    # There are two rows of users of each number, in two files.
    found = best.groupby(["users_row", "items_row", "item_id"])["score"].max()
    wanted = expected.groupby(level=[0, 1, 2]).max()
    np.testing.assert_allclose(found.sort_index(), wanted.sort_index(), rtol=1e-5)


def test_changed_candidates_are_read_anew(grouped_models: Path, tables: Path) -> None:
    items = tables / "items" / "0.parquet"
    ask = (grouped_models / "m", tables / "users", items)

    def best_into(name: str) -> pd.DataFrame:
        htl.rank_files(*ask, tables / name, 3, keep=["users_row", "items_row"])
        return read(tables / name)

    first, status = best_into("first"), items.stat()
    frame = pd.read_parquet(items)
    frame.assign(items_row=frame["items_row"] + 1000).to_parquet(items, index=False)
    changed = best_into("second")
    assert changed["items_row"].tolist() == (first["items_row"] + 1000).tolist()
    with pytest.raises(InputError, match=r"other settings: candidates '\w{12}' there and '\w{12}' here"):
        best_into("first")
    frame.to_parquet(items, index=False)  # what they were, only later
    assert items.stat().st_mtime_ns != status.st_mtime_ns
    pd.testing.assert_frame_equal(best_into("first"), first)


def test_candidates_are_no_place_for_scores(grouped_models: Path, tables: Path) -> None:
    """They are scores of another run, so that --overwrite would remove them."""
    htl.rank_files(
        grouped_models / "m", tables / "users", tables / "items", tables / "best", 3, keep=["item_id", "tab"]
    )
    htl.score_files(grouped_models / "m", _joined(tables), tables / "scored", keep=["item_id", "tag", "price"])
    for output in ("scored", "scored/best"):
        with pytest.raises(InputError, match="for the candidates"):
            htl.rank_files(
                grouped_models / "m",
                tables / "users",
                tables / "scored",
                tables / output,
                3,
                keep=["tab", "item_id"],
                overwrite=True,
            )
    assert len(pd.read_parquet(tables / "scored" / "joined.parquet")) == 3


def _joined(tables: Path) -> Path:
    users = pd.read_parquet(tables / "users" / "0.parquet")
    items = pd.read_parquet(tables / "items" / "0.parquet").head(3)
    pd.concat([users, items], axis=1).to_parquet(tables / "joined.parquet", index=False)
    return tables / "joined.parquet"


def test_many_candidates_are_ranked_for_few_users_between_two_looks(grouped_models: Path, tables: Path) -> None:
    from htlnet_tf.data.sources.source import open_source
    from htlnet_tf.serving.best_candidates import Candidates
    from htlnet_tf.serving.local_servable import loaded

    servable = loaded((grouped_models / "m" / "1").absolute(), "candidates")
    candidates = Candidates(servable, open_source(tables / "items"), ["item_id"])
    assert candidates.users_at_once == 2**20 // 70
