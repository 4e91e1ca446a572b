"""Some of many rows, against slices made by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data.sampling import sampled, sampled_frames
from htlnet_tf.data.stream import open_stream


def test_some_rows_are_taken_evenly(frame: pd.DataFrame, schema: htl.Schema, tmp_path: Path) -> None:
    assert sampled(frame, schema, 100)["time_ms"].tolist() == list(range(0, 400_000, 4000))
    assert len(sampled(frame, schema, 1000)) == 400
    # Of files the same rows, wherever one ends and the next begins.
    for number, (start, end) in enumerate(((0, 130), (130, 131), (131, 400))):
        frame.iloc[start:end].to_parquet(tmp_path / f"{number}.parquet")
    stream = open_stream(tmp_path, schema)
    assert sampled(stream, schema, 100)["time_ms"].tolist() == list(range(0, 400_000, 4000))


@given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 30))
def test_frames_of_any_size_give_every_so_manieth_row(sizes: list[int], most: int) -> None:
    rows = pd.DataFrame({"row": range(sum(sizes))})
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    frames = (rows.iloc[start : start + size] for start, size in zip(starts, sizes, strict=True))
    kept = sampled_frames(frames, most)
    step = 1
    while len(rows.iloc[::step]) > most:
        step *= 2
    assert (kept["row"].tolist() if sizes else []) == rows["row"].iloc[::step].tolist()
    assert len(kept) >= min(len(rows), most) / 2
