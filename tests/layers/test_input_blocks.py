"""Products with the shared input in blocks, against the matrix that the blocks stand for."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from htlnet_tf.layers.input_blocks import Block, InputBlocks
from htlnet_tf.layers.input_dense import InputDense
from htlnet_tf.layers.state_rows import StateRows

ROWS = 5


def blocks(one_row: list[bool]) -> tuple[InputBlocks, np.ndarray]:
    """Blocks of widths 1, 2, .. and the matrix, in float64."""
    random = np.random.default_rng(0)
    parts = [random.normal(size=(1 if one else ROWS, i + 1)).astype("float32") for i, one in enumerate(one_row)]
    found = [Block(tf.constant(part), one) for part, one in zip(parts, one_row, strict=True)]
    dense = np.concatenate([np.broadcast_to(part, (ROWS, part.shape[1])) for part in parts], axis=1)
    return InputBlocks(found, tf.constant(ROWS)), dense.astype(np.float64)


@pytest.mark.parametrize(
    "one_row", [[False], [True], [True, True], [False, False], [True, False], [False, True, False, True, True]]
)
def test_blocks_are_the_matrix(one_row: list[bool]) -> None:
    found, dense = blocks(one_row)
    kernel = np.random.default_rng(1).normal(size=(dense.shape[1], 4))
    assert found.shape.as_list() == [None, dense.shape[1]]
    np.testing.assert_allclose(found.dense(), dense, rtol=1e-6)
    product = found.times(tf.constant(kernel, tf.float32), of=1)
    np.testing.assert_allclose(product, dense @ kernel, rtol=1e-5, atol=1e-5)
    more = np.ones([ROWS, 2])
    beside = found.beside(tf.constant(more, tf.float32))
    np.testing.assert_allclose(beside.dense(), np.concatenate([dense, more], axis=1), rtol=1e-6)


def test_a_product_is_made_once() -> None:
    found, dense = blocks([True, False])
    kernel = tf.ones([dense.shape[1], 2])
    first = found.times(kernel, of=1)
    assert found.times(kernel, of=1) is first
    assert found.times(kernel, of=2) is not first


@pytest.mark.parametrize("widths", [[], [2], [2, 3]])
def test_a_dense_layer_of_the_concatenation(widths: list[int]) -> None:
    found, dense = blocks([True, False, True])
    random = np.random.default_rng(2)
    beside = [random.normal(size=(ROWS, width)).astype("float32") for width in widths]
    layer = InputDense(4, "relu", bias_initializer="ones")
    result = layer([found, *map(tf.constant, beside)])
    inputs = np.concatenate([dense, *beside], axis=1)
    np.testing.assert_allclose(result, reference(layer, inputs), rtol=1e-5, atol=1e-5)
    if not widths:
        np.testing.assert_allclose(layer(tf.constant(dense, tf.float32)), result, rtol=1e-5, atol=1e-5)
    assert [w.shape.as_list() for w in layer.weights] == [[inputs.shape[1], 4], [4]]


@pytest.mark.parametrize("rows", [ROWS, 1])
@pytest.mark.parametrize(
    "kinds",
    # Of each of what stands beside, in 3 states: whether one vector stands for all rows, and which is of which state.
    [[(False, (0, 1, 2))], [(True, (1, 0, 1))], [(False, (0, 0, 1)), (True, (0, 1, 1)), (True, (0, 1, 2))]],
)
def test_a_dense_layer_in_several_states(kinds: list[tuple[bool, tuple[int, ...]]], rows: int) -> None:
    random = np.random.default_rng(3)
    shared = random.normal(size=(rows, 3))
    beside = [random.normal(size=(max(s) + 1, 1 if one else rows, i + 2)) for i, (one, s) in enumerate(kinds)]
    layer = InputDense(4, "relu", bias_initializer="ones")
    stated = [StateRows(tf.constant(b, tf.float32), s) for b, (_, s) in zip(beside, kinds, strict=True)]
    result = layer([tf.constant(shared, tf.float32), *stated])
    of_states = [
        [np.broadcast_to(b[s[i]], (rows, b.shape[2])) for b, (_, s) in zip(beside, kinds, strict=True)]
        for i in range(3)
    ]
    inputs = np.concatenate([np.concatenate([shared, *of_state], axis=1) for of_state in of_states])
    np.testing.assert_allclose(result, reference(layer, inputs), rtol=1e-5, atol=1e-5)


def reference(layer: InputDense, inputs: np.ndarray) -> np.ndarray:
    """In float64; the biases are 1."""
    return np.maximum(inputs @ layer.kernel.numpy().astype(np.float64) + 1.0, 0.0)
