"""Lists in one text, such as "a,b": split, cut, and laid out in slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf


def rows_of_lists(
    values: tf.Tensor,
    look_up: Callable[[tf.Tensor], tf.Tensor],
    *,
    separator: str,
    missing: Sequence[str],
    slots: int,
    keeps_last: bool,
    padding: int,
    missing_row: int,
) -> tf.Tensor:
    """The embedding rows of the values of lists.

    On the operations themselves: `tf.ragged` says the same in six times as many, of which every trace, export and load
    has its share.

    Args:
      values: Lists, string [K]; blanks around a value do not count.
      look_up: From single values, string [M], to their rows, int32 [M].
      separator: Between the values of a list.
      missing: Values that are none.
      slots: Values that are kept of a list.
      keeps_last: Whether the last values of a longer list are kept, not the first.
      padding: The row of an unused slot.
      missing_row: The row in the first slot of a list without values.

    Returns:
      int32 [K, slots].
    """
    split = tf.raw_ops.StringSplitV2(input=values, sep=separator)
    tokens, owners = tf.strings.strip(split.values), split.indices[:, 0]
    present = tf.not_equal(tokens, missing[0])
    for code in missing[1:]:
        present &= tf.not_equal(tokens, code)
    tokens, owners = _chosen(present, tokens, owners)
    count = split.shape[0]
    if keeps_last:
        after = tf.math.cumsum(tf.math.unsorted_segment_sum(tf.ones_like(owners), owners, count))  # ends of the lists
        is_late = tf.range(tf.size(owners, tf.int64)) >= tf.gather(after, owners) - slots
        tokens, owners = _chosen(is_late, tokens, owners)
    padded = tf.raw_ops.RaggedTensorToTensor(
        shape=tf.constant([-1, slots], tf.int64),
        values=look_up(tokens),
        default_value=padding,
        row_partition_tensors=[count, owners],
        row_partition_types=["FIRST_DIM_SIZE", "VALUE_ROWIDS"],
    )
    first, others = tf.split(padded, [1, slots - 1], axis=1)
    return tf.concat([tf.where(tf.equal(first, padding), missing_row, first), others], axis=1)


def _chosen(mask: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
    """The entries where a mask is true."""
    positions = tf.squeeze(tf.where(mask), axis=1)
    return [tf.gather(tensor, positions) for tensor in tensors]
