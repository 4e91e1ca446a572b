"""Batching parameters as TF Serving takes them, and the requests that they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import StatusError
from htlnet_tf.serving.server.batching import BatchingRules, read_batching_rules

PARAMETERS = """
max_batch_size { value: 8 }   # rows
batch_timeout_micros { value: 1000 }
max_enqueued_batches: { value: 100 }
num_batch_threads { value: 4 }
thread_pool_name { value: "pool" }
allowed_batch_sizes: 2
allowed_batch_sizes: 8
pad_variable_length_inputs: true
"""


def rules(tmp_path: Path, text: str) -> BatchingRules:
    file = tmp_path / "batching.config"
    file.write_text(text, encoding="utf-8")
    return read_batching_rules(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PARAMETERS, 8),
        ("", 1000),
        ("max_batch_size{value:100}max_execution_batch_size{value:4}enable_large_batch_splitting{value:true}", 100),
        ("allowed_batch_sizes: [2, 4] max_batch_size { value: 4 }", 4),
    ],
)
def test_the_largest_request(tmp_path: Path, text: str, expected: int) -> None:
    assert rules(tmp_path, text).max_batch_size == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_sizes { value: 8 }", "at 'max_batch_sizes"),
        ("max_batch_size: 8", "at 'max_batch_size: 8'"),
        ("max_batch_size { value: 8", "at 'max_batch_size"),
        ("max_batch_size { value: many }", "is not a number"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 2", "must grow up to the largest batch, 8"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 8 allowed_batch_sizes: 2", "must grow up"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules(tmp_path, text)
    with pytest.raises(InputError, match="cannot be read"):
        read_batching_rules(tmp_path / "absent")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(9,), (9, 2)], "Task size 9 is larger than maximum input batch size 8"),
        ([(2,), (3,)], "Batching Run() input tensors must have equal 0th-dimension size"),
        ([(), (3,)], "Batching Run() input tensors must have at least one dimension"),
    ],
)
def test_requests_that_are_refused(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        BatchingRules(8).check({str(index): np.zeros(shape) for index, shape in enumerate(shapes)})
    assert (caught.value.code, caught.value.message) == ("INVALID_ARGUMENT", message)
    BatchingRules(8).check({"a": np.zeros(8), "b": np.zeros((8, 3))})
