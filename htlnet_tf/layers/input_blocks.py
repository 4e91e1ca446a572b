"""The input that all towers read as blocks of columns, so that what is the same in many rows is multiplied once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf


class Block(NamedTuple):
    """Neighbouring columns of the input.

    Attributes:
      columns: float32 [N, w], or [1, w] if `one_row`.
      one_row: Whether the one row stands for all N.
    """

    columns: tf.Tensor
    one_row: bool = False


class InputBlocks:
    """A matrix X, float32 [N, W], as blocks of columns side by side.

    With the blocks X_b and the rows K_b of a kernel that belong to them, X K = sum_b X_b K_b. What the candidates of
    one user have in common is one row and is multiplied as one row. A product is made once for each layer that asks,
    however often the layer runs: the marginal label embedding runs a tower once per state of the labels on the same X.

    Args:
      blocks: In the order of the columns.
      count: N, an int32 scalar.
    """

    def __init__(self, blocks: Sequence[Block], count: tf.Tensor) -> None:
        self._blocks = tuple(blocks)
        self.count = count
        self._products: dict[int, tf.Tensor] = {}

    @classmethod
    def of(cls, inputs: tf.Tensor | InputBlocks) -> InputBlocks:
        """A matrix as one block; blocks as they are."""
        return inputs if isinstance(inputs, InputBlocks) else cls([Block(inputs)], tf.shape(inputs)[0])

    @property
    def shape(self) -> tf.TensorShape:
        """[N, W], where N is not known before the graph runs."""
        return tf.TensorShape([None, sum(int(block.columns.shape[1]) for block in self._blocks)])

    def beside(self, columns: tf.Tensor) -> InputBlocks:
        """These blocks with more columns, float32 [N, w], behind them."""
        return InputBlocks([*self._blocks, Block(columns)], self.count)

    def dense(self) -> tf.Tensor:
        """The matrix, float32 [N, W]."""
        columns = [self._of_all(b.columns) if b.one_row else b.columns for b in self._blocks]
        return columns[0] if len(columns) == 1 else tf.concat(columns, axis=1)

    def times(self, kernel: tf.Tensor, of: int) -> tf.Tensor:
        """X K, float32 [N, u].

        Args:
          kernel: K, float32 [W, u].
          of: Stands for the kernel, which a trace may slice anew: the same number is given the same tensor.
        """
        if of not in self._products:
            self._products[of] = self._times(kernel)
        return self._products[of]

    def _times(self, kernel: tf.Tensor) -> tf.Tensor:
        if len(self._blocks) == 1 and not self._blocks[0].one_row:
            return tf.matmul(self._blocks[0].columns, kernel)
        rows = tf.split(kernel, [int(block.columns.shape[1]) for block in self._blocks])
        products = []
        # Two products, of all that is one row and of all else, however the columns alternate.
        ordered = sorted(zip(self._blocks, rows, strict=True), key=lambda pair: pair[0].one_row)
        for _, pairs in itertools.groupby(ordered, key=lambda pair: pair[0].one_row):
            blocks, kernels = zip(*pairs, strict=True)
            products.append(tf.matmul(tf.concat([b.columns for b in blocks], axis=1), tf.concat(kernels, axis=0)))
        if len(products) == 2:
            return products[0] + products[1]
        return self._of_all(products[0]) if self._blocks[0].one_row else products[0]

    def _of_all(self, row: tf.Tensor) -> tf.Tensor:
        return tf.broadcast_to(row, [self.count, row.shape[1]])
