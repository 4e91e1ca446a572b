"""Tables that pictures are drawn from, one per seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from htlnet_tf.errors import InputError


def require_columns(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Checks a table's columns.

    Raises:
      InputError: One is missing.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{what} must have the columns {list(columns)}, but {missing} are missing")


def mean_over_seeds(
    tables: pd.DataFrame | Sequence[pd.DataFrame], keys: Sequence[str], values: Sequence[str], what: str
) -> pd.DataFrame:
    """One row per combination of `keys`, in order of appearance, with the means of `values` over the tables.

    Args:
      tables: One table, or one per seed.
      keys: Columns that name a row.
      values: Columns of numbers; a missing one takes no part in its mean.
      what: What the tables are, for the message.

    Raises:
      InputError: A column is missing.
    """
    each = [tables] if isinstance(tables, pd.DataFrame) else list(tables)
    columns = [*keys, *values]
    for table in each:
        require_columns(table, columns, what)
    if not each:
        return pd.DataFrame(columns=columns)
    rows = pd.concat([table[columns] for table in each], ignore_index=True)
    return rows.groupby(list(keys), sort=False, observed=True)[list(values)].mean().reset_index()
