"""A table's column of users, by which the group AUC groups."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.raw_features import distinct_values, missing_codes
from htlnet_tf.schema import Schema


def read_users(frame: pd.DataFrame, schema: Schema) -> pd.Series | None:
    """The user of each row, checked.

    Args:
      frame: Rows with the column that the schema names as `user`; further columns are ignored.
      schema: The declared columns.

    Returns:
      [N] objects with the frame's index: `str` or `int`, as the user's feature has them (whole numbers in a column of
      text become their text), None where the user is missing; a feature's `missing_values` are missing, too. None
      instead of a series if the schema declares no user.

    Raises:
      InputError: The column is missing, or holds neither text nor whole numbers; names column, row and value.
    """
    feature = schema.user_column
    if feature is None:
        return None
    require_columns(frame, [schema.user_source or ""], purpose="users")
    codes, values = distinct_values(frame[schema.user_source], feature)
    settled = dataclasses.replace(feature, dtype="int64" if values.dtype == np.int64 else "string")
    users = values.astype(object)
    users[np.isin(values, np.array(missing_codes(settled), values.dtype))] = None
    return pd.Series(users[codes], index=frame.index, name=schema.user, dtype=object)
