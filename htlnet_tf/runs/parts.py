"""The parts of a table by the rule that split the rows of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from htlnet_tf.data.split_config import PARTS
from htlnet_tf.data.splits import Split
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.files import local_path


def load_split(directory: str | Path) -> Split | None:
    """The rule that split the rows of a run; None if the folder has none, as `htlnet_tf.save_run` writes it.

    Raises:
      InputError: The file is damaged.
    """
    rule = local_path(directory) / "split.yaml"
    return Split.from_yaml(rule) if rule.exists() else None


def rows_of_part(rows: Rows, split: Split, part: str) -> Rows:
    """The rows that a rule puts into a part; there may be none.

    Args:
      rows: A frame or a stream.
      split: The rule.
      part: `"train"`, `"valid"` or `"test"`.

    Raises:
      InputError: A column that the rule needs is missing or not usable.
    """
    if not isinstance(rows, pd.DataFrame):
        return rows.of(split, part)
    return rows[split.parts(rows) == PARTS.index(part)]
