"""Encoded rows in a folder for workers: what each reads, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.encoding import shared_rows
from htlnet_tf.encoding.encoded import encode_rows
from tests.conftest import small_frame


@pytest.fixture(scope="module")
def folder(schema: htl.Schema, frame: pd.DataFrame, encoder: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 rows for two workers, each in two blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_rows, "_BLOCK_ROWS", 120)
        path = tmp_path_factory.mktemp("shared") / "rows"
        return htl.data.save_encoded(frame, schema, encoder, path, workers=2)


def read(folder: Path, encoder: Any, worker: int = 0, workers: int = 2, **arguments: Any) -> Iterator[Any]:
    """What a worker gets; `current_worker` tells it where there is no strategy, too."""
    creator = htl.data.encoded_for_workers(folder, encoder, **({"batch_size": 30} | arguments))
    return iter(creator.dataset_fn(tf.distribute.InputContext(workers, worker, workers)))


def pass_of(batches: Iterator[Any], rows: int = 200) -> np.ndarray:
    """The rows of a pass."""
    found: list[np.ndarray] = []
    while sum(map(len, found)) < rows:
        found.append(side_by_side(*next(batches)))
    assert sum(map(len, found)) == rows
    return np.concatenate(found)


def side_by_side(features: Any, labels: Any, *_: Any) -> np.ndarray:
    """Features and labels, a row each."""
    return np.column_stack([features["ids"], features["numeric"], *(labels[name] for name in sorted(labels))])


def test_workers_share_the_rows_and_each_pass_has_all_of_them(folder: Path, frame: pd.DataFrame, encoder: Any) -> None:
    expected = sorted(side_by_side(*encode_rows(frame, encoder, training=True).tree).tolist())
    first, second = (read(folder, encoder, worker) for worker in (0, 1))
    for _ in range(2):
        assert sorted([*pass_of(first).tolist(), *pass_of(second).tolist()]) == expected


def test_orders_are_those_of_the_seed_and_change_from_pass_to_pass(folder: Path, encoder: Any) -> None:
    def ids(seed: int, **arguments: Any) -> list[np.ndarray]:
        batches = read(folder, encoder, seed=seed, **arguments)
        return [np.asarray(next(batches)[0]["ids"]).tobytes() for _ in range(16)]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)
    assert ids(0)[:8] != ids(0)[8:]
    assert ids(0, shuffle=False)[:8] == ids(1, shuffle=False)[8:]


def test_batches_are_of_one_block_and_the_last_may_be_left_out(folder: Path, encoder: Any) -> None:
    batches = read(folder, encoder)
    assert [len(next(batches)[0]["ids"]) for _ in range(8)] == [30, 30, 30, 10] * 2
    batches = read(folder, encoder, drop_remainder=True)
    assert [len(next(batches)[0]["ids"]) for _ in range(6)] == [30] * 6


def test_no_batch_needs_python(folder: Path, encoder: Any) -> None:
    creator = htl.data.encoded_for_workers(folder, encoder)
    dataset = creator.dataset_fn(tf.distribute.InputContext(1, 0, 1))
    graph = tf.compat.v1.GraphDef.FromString(dataset._as_serialized_graph().numpy())
    operations = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    assert "LoadDataset" in operations
    assert not {name for name in operations if "PyFunc" in name or name == "GeneratorDataset"}


def test_weights_come_along(schema: htl.Schema, frame: pd.DataFrame, encoder: Any, tmp_path: Path) -> None:
    rows = encode_rows(frame, encoder).with_weights()
    path = htl.data.save_encoded(rows, schema, encoder, tmp_path / "weighted", workers=1)
    _, labels, weights = next(read(path, encoder, workers=1))
    assert list(weights) == list(labels)
    assert (weights["spend"].numpy() == 1.0).all()


def test_the_same_rows_are_written_once_and_others_refused(
    folder: Path, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_rows, "_BLOCK_ROWS", 120)
    written = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert htl.data.save_encoded(frame, schema, encoder, folder, workers=2) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == written
    for rows, workers in ((frame, 3), (frame[:399], 2)):
        with pytest.raises(htl.InputError, match="has other rows"):
            htl.data.save_encoded(rows, schema, encoder, folder, workers=workers, training=False)


def test_what_cannot_be_read_is_refused(
    folder: Path, schema: htl.Schema, frame: pd.DataFrame, encoder: Any, tmp_path: Path
) -> None:
    with pytest.raises(htl.InputError, match="has no rows of"):
        htl.data.encoded_for_workers(tmp_path, encoder)
    with pytest.raises(htl.InputError, match="by another encoder"):
        htl.data.encoded_for_workers(folder, htl.FeatureEncoder.fit(schema, small_frame(100, seed=3)))
    with pytest.raises(htl.InputError, match="leaves no batch of a block of 100 rows, batch_size 101"):
        htl.data.encoded_for_workers(folder, encoder, batch_size=101, drop_remainder=True)
    with pytest.raises(htl.InputError, match="batch_size must be at least 1"):
        htl.data.encoded_for_workers(folder, encoder, batch_size=0)
    with pytest.raises(htl.InputError, match="are for at most 4 workers, not 5"):
        read(folder, encoder, workers=5)
    with pytest.raises(htl.InputError, match="workers must be at least 1"):
        htl.data.save_encoded(frame, schema, encoder, tmp_path / "rows", workers=0)
    with pytest.raises(htl.InputError, match="3 rows are too few for 4 workers"):
        htl.data.save_encoded(frame[:3], schema, encoder, tmp_path / "rows", workers=4, training=False)
    assert not (tmp_path / "rows").exists()
