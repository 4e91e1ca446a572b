"""Places in rows that several workers each read for themselves: a batch of theirs is as many of `fit`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.checkpoints import position
from htlnet_tf.checkpoints.position import Position, parts_of_a_batch
from htlnet_tf.encoding.passes import Passes, remember


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    """Those of `rows`, of five batches each, which two workers divide."""
    monkeypatch.setattr(position, "parts_of_a_batch", lambda rows, strategy: 2)
    found = Passes(3)
    for number in range(3):
        found.tell(number, 5)
    return found


def rows_of(passes: Passes) -> tf.data.Dataset:
    source = tf.data.Dataset.range(5).filter(lambda number: number >= 0)  # of no known length, as a stream's
    return remember(source, passes)


def test_a_pass_has_twice_its_batches(passes: Passes) -> None:
    rows = rows_of(passes)
    place = Position({"x": rows}, tf.distribute.get_strategy())
    assert [place.may_stop_at(0, batch) for batch in (5, 9, 10)] == [True, True, False]
    kept = place.at(0, 7)
    assert kept == {"seed": "3", "pass": 0, "batch": 3, "parts_used": 1}
    again = Position({"x": rows}, tf.distribute.get_strategy())
    assert again.go_on(kept, 0, 7) == (rows, 1)
    assert passes.upcoming[:2] == (0, 3)
    assert again.at(0, 9) == {"seed": "3", "pass": 0, "batch": 4, "parts_used": 1}
    assert again.at(1, 0) == {"seed": "3", "pass": 1, "batch": 0, "parts_used": 0}


def test_rows_that_are_repeated_go_on_over_the_end_of_a_pass(passes: Passes) -> None:
    source = rows_of(passes)
    given = {"x": source.repeat(), "steps_per_epoch": 7}
    place = Position(given, tf.distribute.get_strategy())
    kept = place.at(1, 4)
    assert kept == {"seed": "3", "pass": 1, "batch": 0, "parts_used": 1}
    again = Position(given, tf.distribute.get_strategy())
    assert again.go_on(kept, 1, 4)[1] == 1
    assert again.at(2, 0) == place.at(2, 0) == {"seed": "3", "pass": 1, "batch": 2, "parts_used": 0}
    assert again.at(3, 0) == place.at(3, 0) == {"seed": "3", "pass": 2, "batch": 0, "parts_used": 1}


def test_a_batch_is_divided_where_each_worker_reads_for_itself(
    frame: pd.DataFrame,
    schema: htl.Schema,
    encoder: htl.FeatureEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    stream = htl.data.open_stream(tmp_path, schema)
    monkeypatch.setattr(position, "input_workers", lambda strategy: 3)
    strategy = tf.distribute.get_strategy()
    own = htl.data.make_dataset(stream, schema, encoder, num_shards=3, shard_index=1)
    of_all = htl.data.make_dataset(stream, schema, encoder)
    assert parts_of_a_batch(own, strategy) == parts_of_a_batch(own.repeat(), strategy) == 3
    assert parts_of_a_batch(of_all, strategy) == 1
    assert parts_of_a_batch(htl.data.make_dataset(frame, schema, encoder), strategy) == 1
