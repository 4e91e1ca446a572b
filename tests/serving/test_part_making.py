"""Files of scores several at a time, and what is told of them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import htlnet_tf as htl
from htlnet_tf.data.bad_rows import BadRows
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.errors import InputError
from htlnet_tf.serving import local_servable
from htlnet_tf.serving.part_making import Parts
from tests.conftest import small_frame


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two files of 30 rows; of the first, rows 0 and 2 are at fault, and a line behind row 1."""
    folder = tmp_path / "rows"
    folder.mkdir()
    frame = small_frame(30).astype({"item_id": object})
    frame.to_csv(folder / "b.csv", index=False)
    frame.loc[0, "item_id"], frame.loc[2, "price"] = "no number", -1.0
    lines = frame.to_csv(index=False).splitlines()
    (folder / "a.csv").write_text("\n".join([*lines[:3], "too,few", *lines[3:]]) + "\n")
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_and_bad_rows_are_counted_whoever_made_the_files(ranked_models: Path, rows: Path, jobs: int) -> None:
    output = rows.parent / "scores"

    def score() -> htl.ScoredFiles:
        return htl.score_files(ranked_models / "m", rows, output, jobs=jobs, on_bad_rows="skip")

    done = score()
    assert (done.rows, done.parts, done.present, done.bad_rows) == (28 + 30, 2, 0, 3)
    assert done.first_bad_row is not None and done.first_bad_row[:3] == (str(rows / "a.csv"), 0, "item_id")
    assert pd.read_csv(output / "_bad_rows" / "a.csv.csv")["row"].tolist() == [0, 2, 3]
    (output / "b.csv.parquet").unlink()  # as if it had been killed there
    again = score()
    assert (again.rows, again.parts, again.present, again.bad_rows) == (30, 1, 1, 3)
    assert again.first_bad_row == done.first_bad_row
    assert "3 bad rows were skipped; the first: " in score().to_text()  # of which both files were there


def test_a_fault_in_the_first_row_changes_no_type(ranked_models: Path, rows: Path) -> None:
    keep = ["item_id", "price", "tab"]
    htl.score_files(ranked_models / "m", rows, rows.parent / "scores", keep=keep, on_bad_rows="skip")
    for name in ("a", "b"):
        scores = pa.parquet.read_table(rows.parent / "scores" / f"{name}.csv.parquet")
        assert [f"{scores.schema.field(column).type}" for column in keep] == ["int64", "double", "int64"]
    with pytest.raises(InputError, match=r"a.csv, column 'item_id', row 0: .* received 'no number'"):
        htl.score_files(ranked_models / "m", rows, rows.parent / "other", keep=keep, jobs=1)


def test_lists_at_fault_in_the_first_row_are_that_rows_fault(ranked_models: Path, tmp_path: Path) -> None:
    frame = small_frame(10)
    frame["tag"] = [["a,x", "b"], *[["a", "b"]] * 9]  # the separator is in a value
    frame.to_parquet(tmp_path / "rows.parquet")
    ask = (ranked_models / "m", tmp_path / "rows.parquet", tmp_path / "scores")
    with pytest.raises(InputError, match=r"rows.parquet, column 'tag', row 0: feature 'tag' is joined by ','"):
        htl.score_files(*ask, keep=["tag"])
    assert htl.score_files(*ask, keep=["tag"], on_bad_rows="skip").rows == 9
    assert pd.read_parquet(tmp_path / "scores" / "rows.parquet")["tag"].tolist() == ["a,b"] * 9


def test_files_without_a_good_row_have_scores_without_rows(ranked_models: Path, tmp_path: Path) -> None:
    small_frame(5).assign(age=np.inf).to_parquet(tmp_path / "rows.parquet")
    ask = (ranked_models / "m", tmp_path / "rows.parquet", tmp_path / "scores")
    done = htl.score_files(*ask, keep=["item_id"], on_bad_rows="skip")
    assert (done.rows, done.bad_rows) == (0, 5)
    assert len(pd.read_parquet(tmp_path / "scores" / "rows.parquet")) == 0


def test_where_one_file_fails_the_others_stop_and_leave_nothing(ranked_model: Any, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    for part in range(4):
        small_frame(200).to_parquet(tmp_path / "rows" / f"{part}.parquet")
    source, output = open_source(tmp_path / "rows"), tmp_path / "scores"
    parts = Parts(tmp_path / "rows", source, output, {}, ["price"], on_bad_rows="error", overwrite=False)
    others, calls = threading.Event(), []

    def table(frame: pd.DataFrame, noted: BadRows | None) -> pa.Table:
        assert noted is None
        calls.append(frame.attrs["file"])
        if frame.attrs["file"].endswith("0.parquet"):
            assert others.wait(30)  # the other thread is in the middle of its file
            raise InputError("this file is at fault")
        others.set()
        time.sleep(0.005)
        return pa.table({"price": frame["price"].to_numpy()})

    with pytest.raises(InputError, match="this file is at fault"):
        types = pa.schema([("price", pa.float64())])
        parts.make(table, types, ranked_model.encoder.schema, jobs=2, write=None, chunk_rows=1)
    assert len(calls) < 200  # of the second file, and nothing of those that had not begun
    assert not [path for path in output.rglob("*") if path.is_file()]


def test_each_call_has_one_thread_and_there_are_no_more_callers_than_files(
    ranked_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_: list[tuple[str, int]] = []
    for name in ("intra", "inter"):
        setter = f"set_{name}_op_parallelism_threads"
        monkeypatch.setattr(local_servable.tf.config.threading, setter, lambda n, name=name: set_.append((name, n)))
    (tmp_path / "rows").mkdir()
    for part in range(2):
        small_frame(3).to_parquet(tmp_path / "rows" / f"{part}.parquet")
    htl.score_files(ranked_models / "m", tmp_path / "rows", tmp_path / "scores", jobs=8)
    assert set_ == [("intra", 1), ("inter", 2)]


def test_a_version_that_took_the_place_of_another_is_loaded(
    ranked_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "1"
    for name in ("saved_model.pb", "variables/variables.index", "assets.extra/schema.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ranked_models / "m" / "1" / name).read_bytes())
    monkeypatch.setattr(local_servable, "LocalServable", lambda folder, signature: object())
    first = local_servable.loaded(folder)
    assert local_servable.loaded(folder) is first
    (folder / "variables/variables.index").write_bytes(b"of other weights")
    assert local_servable.loaded(folder) is not first
