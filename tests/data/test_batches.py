"""Frames and Arrow batches that a program gives, read with the checks that files get."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import htlnet_tf as htl

KINDS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "frame": lambda frame: frame,
    "batch": lambda frame: pa.RecordBatch.from_pandas(frame, preserve_index=False),
    "table": lambda frame: pa.concat_tables(
        [pa.Table.from_pandas(part, preserve_index=False) for part in (frame[:3], frame[3:])]
    ),
}


def parts(frame: pd.DataFrame, kind: str = "frame") -> Iterator[Any]:
    """Batches of 90 rows; the last one is smaller."""
    for start in range(0, len(frame), 90):
        yield KINDS[kind](frame[start : start + 90])


@pytest.mark.parametrize("kind", list(KINDS))
def test_batches_are_the_same_rows_as_a_file(
    kind: str, schema: htl.Schema, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    rows = htl.data.stream_batches(lambda: parts(frame, kind), schema)
    of_file = htl.FeatureEncoder.fit(schema, htl.data.open_stream(tmp_path / "rows.parquet", schema))
    encoder = htl.FeatureEncoder.fit(schema, rows)
    for name, values in of_file.encode(frame).items():
        np.testing.assert_array_equal(encoder.encode(frame)[name], values)
    # Read again in each epoch, through the buffer.
    dataset = htl.data.make_dataset(rows, schema, encoder, batch_size=50, shuffle=True, seed=0, shuffle_buffer=100)
    for _ in range(2):
        spends = np.concatenate([labels["spend"] for _, labels, _ in dataset])
        np.testing.assert_allclose(np.sort(spends), np.sort(frame["spend"].to_numpy(np.float32)))
    larger = [chunk.first_row for chunk in rows.source.chunks(["tab"], chunk_rows=40)]
    assert larger[:4] == [0, 40, 80, 0]
    assert next(iter(rows)).attrs["file"] == "batch 0"
    shares = [sum(len(part) for part in rows.shard(2, i)[0]) for i in range(2)]
    assert sum(shares) == len(frame) and min(shares) > len(frame) // 4  # however small the batches are


def test_lists_are_joined_as_in_files() -> None:
    schema = htl.Schema(
        features=[htl.Categorical("tag", separator=",")], targets=[htl.Binary("click"), htl.Continuous("spend")]
    )
    batch = pa.record_batch({"tag": [["a", "b"], [], ["c"]], "click": [0, 1, None], "spend": [0.0, 1.5, 2.0]})
    (frame,) = htl.data.stream_batches([batch], schema)
    assert frame["tag"].astype(object).where(frame["tag"].notna(), None).tolist() == ["a,b", None, "c"]


def test_bad_rows_are_named_by_batch_and_row(schema: htl.Schema, frame: pd.DataFrame, encoder: Any) -> None:
    bad = frame.assign(click=frame["click"].where(frame.index != 95, 7))
    rows = htl.data.stream_batches(lambda: parts(bad), schema)
    with pytest.raises(htl.InputError, match=r"batch 1, column 'click', row 5"):
        list(htl.data.make_dataset(rows, schema, encoder, cache=True))
    skipping = htl.data.stream_batches(lambda: parts(bad), schema, on_bad_rows="skip")
    for _ in range(2):
        assert sum(map(len, skipping)) == len(frame) - 1
    assert (len(skipping.bad_rows), skipping.bad_rows.first().file, skipping.bad_rows.first().row) == (1, "batch 1", 5)


def test_what_is_no_batch_is_refused(schema: htl.Schema, frame: pd.DataFrame) -> None:
    def read(*batches: Any) -> list[pd.DataFrame]:
        return list(htl.data.stream_batches(list(batches), schema))

    arrow = KINDS["batch"]
    with pytest.raises(htl.InputError, match=r"batch 1: a DataFrame, an Arrow RecordBatch or Table.* received dict"):
        read(frame, {})
    with pytest.raises(htl.InputError, match="batch 1: column 'price' is missing"):
        read(arrow(frame), arrow(frame.drop(columns="price")))
    with pytest.raises(htl.InputError, match="batch 0: the names of columns must differ, but 'tab'"):
        read(pd.concat([frame, frame[["tab"]]], axis=1))
    text = frame.assign(price="many")
    with pytest.raises(htl.InputError, match=r"batch 1, column 'price': a column must be of one kind.* in batch 0"):
        read(arrow(frame), arrow(text))
    nested = arrow(frame).drop_columns(["price"]).append_column("price", pa.array([{"x": 1}] * len(frame)))
    with pytest.raises(htl.InputError, match=r"batch 0, column 'price': columns hold numbers, text.* received struct"):
        read(nested)
    with pytest.raises(htl.InputError, match="no rows in the batches"):
        read()
    with pytest.raises(htl.InputError, match="received a int"):
        htl.data.stream_batches(3, schema)  # type: ignore[arg-type]
    with pytest.raises(htl.InputError, match="on_bad_rows must be"):
        htl.data.stream_batches([], schema, on_bad_rows="maybe")  # type: ignore[arg-type]


def test_an_iterator_trains_one_epoch(
    reused_model: Callable[..., Any], schema: htl.Schema, frame: pd.DataFrame, encoder: Any, caplog: Any
) -> None:
    model = reused_model()
    rows = htl.data.stream_batches(parts(frame, "batch"), schema)
    dataset = htl.data.make_dataset(rows, schema, encoder, batch_size=100)
    before = model.predict(next(iter(htl.data.make_dataset(frame, schema, encoder)))[0], verbose=0)
    with caplog.at_level(logging.WARNING):
        history = model.fit(dataset, epochs=1, verbose=0).history
    assert len(history["loss"]) == 1
    assert "cannot be read twice" in caplog.text
    after = model.predict(next(iter(htl.data.make_dataset(frame, schema, encoder)))[0], verbose=0)
    assert np.abs(before["spend"] - after["spend"]).max() > 0
    with pytest.raises(htl.InputError, match="can be read once, and it was"):
        model.fit(dataset, epochs=1, verbose=0)
    factors = model.fit_level(htl.data.make_dataset(frame, schema, encoder))
    assert set(factors) == {"spend"}
