"""A question for P(y > t): rows and thresholds -> the inputs of its signature, and its outputs -> a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from htlnet_tf.data.thresholds import exceedance_columns
from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.columns import Columns, to_columns
from htlnet_tf.serving.clients.replies import OtherOutputsError, score_frame
from htlnet_tf.serving.clients.rows import Rows, listed
from htlnet_tf.serving.signatures import THRESHOLDS_INPUT, Signature

if TYPE_CHECKING:
    from htlnet_tf.serving.clients.schema_rows import SchemaRows


def exceedance_request(
    rows: Rows,
    thresholds: Sequence[float],
    signatures: Mapping[str, Signature],
    name: str,
    schema_rows: SchemaRows | None = None,
) -> Columns:
    """The columns of rows, and the thresholds that all of them share.

    Args:
      rows: As of `RestClient.predict`.
      thresholds: Checked.
      signatures: Of the model, by name.
      name: Of the signature that will receive them.
      schema_rows: Reads rows as training does; None: by the signature alone.

    Raises:
      InputError: As in `to_columns`; or the model has no such signature.
    """
    signature = signatures.get(name)
    if signature is None or THRESHOLDS_INPUT not in signature.inputs:
        raise InputError(
            f"the model has no signature '{name}' that takes {THRESHOLDS_INPUT}, but {sorted(signatures)}: it is "
            "exported with one where an amount of the schema has `quantiles`"
        )
    convert = to_columns if schema_rows is None else schema_rows.columns
    columns = convert(rows, signature.without(THRESHOLDS_INPUT))
    return Columns(columns.values | {THRESHOLDS_INPUT: [list(thresholds)]}, columns.index)


def exceedance_frame(
    outputs: Mapping[str, Any], signature: Signature, index: pd.Index, thresholds: Sequence[float]
) -> pd.DataFrame:
    """Arranges outputs as columns: `{name}` [N, K] as `{name}_above_{t}`, others under their own name.

    Args:
      outputs: Output alias -> array or nested lists.
      signature: Says the dtypes and the order.
      index: Of the N rows.
      thresholds: K of them.

    Raises:
      OtherOutputsError: An output is missing, or is not such a table.
    """
    parts = []
    for name, info in signature.outputs.items():
        if name not in outputs:
            raise OtherOutputsError(f"output '{name}' is missing: the answer has {listed(outputs)}")
        part = score_frame({name: outputs[name]}, signature, index)
        if info.shape is not None and len(info.shape) == 2:
            if part.shape[1] != len(thresholds):
                raise OtherOutputsError(f"output '{name}' has {part.shape[1]} columns for {len(thresholds)} thresholds")
            part.columns = pd.Index(exceedance_columns(name, thresholds))
        parts.append(part)
    return pd.concat(parts, axis=1)
