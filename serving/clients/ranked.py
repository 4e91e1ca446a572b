"""What a client asks the signature `ranked`, and the table that it makes of the answer."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.columns import Columns
from htlnet_tf.serving.clients.replies import OtherOutputsError, score_frame
from htlnet_tf.serving.clients.rows import Rows, User
from htlnet_tf.serving.signatures import RANKED_SIGNATURE, Signature

_K, _INDEX, _SCORE = "k", "index", "score"
_LARGEST = 2**31 - 1  # of an int32; nobody has as many candidates

Convert = Callable[[User, Rows, Signature], Columns]


def asked_for(k: Any) -> int:
    """How many items are asked for, as an int32.

    Raises:
      InputError: It is no whole number of at least 1.
    """
    if not isinstance(k, numbers.Integral) or isinstance(k, bool) or k < 1:
        raise InputError(f"k, the number of items asked for, must be a whole number of at least 1; received {k!r}")
    return min(int(k), _LARGEST)


def rank_columns(user: User, items: Rows, k: int, signatures: Mapping[str, Signature], convert: Convert) -> Columns:
    """Converts one user, the items and their number to what `ranked` takes.

    Args:
      user: As of `RestClient.rank`.
      items: As of `RestClient.rank`.
      k: As `asked_for` gives it.
      signatures: Of the model, by name.
      convert: As `to_candidate_columns`.

    Returns:
      The columns; the index is that of the items.

    Raises:
      InputError: The model has no such signature, or as in `to_candidate_columns`.
    """
    signature = signatures.get(RANKED_SIGNATURE)
    if signature is None:
        raise InputError(
            f"the model has no signature '{RANKED_SIGNATURE}': its schema must declare a `ranking` and have columns of "
            f"group item; it has {sorted(signatures)}"
        )
    inputs = {name: info for name, info in signature.inputs.items() if name != _K}
    columns = convert(user, items, Signature(inputs, signature.outputs))
    return Columns(columns.values | {_K: [k]}, columns.index)


def ranked_frame(
    outputs: Mapping[str, Any], signature: Signature, index: pd.Index, *, order: Sequence[str] = ()
) -> pd.DataFrame:
    """Arranges an answer of `ranked` as a table.

    Args:
      outputs: Output alias -> array or nested lists, `[k]` or `[k, K]`.
      signature: Says the dtypes and the order.
      index: Of the items, in the order in which they were sent.
      order: As of `score_frame`.

    Returns:
      One row per item, best first, with its own label; `score`, then the targets.

    Raises:
      OtherOutputsError: The answer is no such table.
    """
    try:
        positions = np.asarray(outputs[_INDEX])
    except (KeyError, ValueError) as error:
        raise OtherOutputsError(f"output '{_INDEX}' must have one whole number per item: {error}") from error
    if positions.ndim != 1 or (positions.size and not np.issubdtype(positions.dtype, np.integer)):
        raise OtherOutputsError(f"output '{_INDEX}' must have one whole number per item")
    positions = positions.astype(np.int64)
    if np.any((positions < 0) | (positions >= len(index))):
        raise OtherOutputsError(f"output '{_INDEX}' must be positions among the {len(index)} items that were sent")
    scores = {name: values for name, values in outputs.items() if name != _INDEX}
    return score_frame(scores, signature, index.take(positions), order=(_SCORE, *order))
