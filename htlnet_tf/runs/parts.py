"""The parts of a table by the rule that split the rows of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from htlnet_tf.data.split_config import PARTS
from htlnet_tf.data.splits import Split
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.manifest import require_intact
from htlnet_tf.runs.lineage import load_lineage


def load_split(directory: str | Path) -> Split | None:
    """The rule that split the rows of a run; None if the folder has none, as `htlnet_tf.save_run` writes it.

    Raises:
      InputError: The file is damaged.
    """
    rule = local_path(directory) / "split.yaml"
    require_intact(directory, rule.name)
    return Split.from_yaml(rule) if rule.exists() else None


def split_rule(directory: str | Path, data: str | Path | None) -> Split | None:
    """The rule that splits a run's rows, or other data in its place; None: all of them are test rows.

    A run that `htlnet_tf.update` wrote has learned all of its day, so that all rows of other days are new to it.

    Args:
      directory: The run folder.
      data: Where the other rows are; None: the run's own.

    Raises:
      InputError: The run has learned all of its rows and there are no others, or a file is damaged.
    """
    if load_lineage(directory) is None:
        return load_split(directory)
    if data is None:
        raise InputError(
            f"'{directory}' has learned all rows of its last day, so it has no test rows: give rows of the day after "
            "it, --data PATH; its metrics.json is of the last part of its day, before that was learned too"
        )
    return None


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
