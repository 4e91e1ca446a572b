"""What the page of a run is made of: facts and tables as a run folder has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from htlnet_tf.judging.reports import Report
from htlnet_tf.page.facts import RunFacts
from htlnet_tf.page.lineage import Lineage
from htlnet_tf.schema import Schema


@dataclasses.dataclass(frozen=True)
class Servable:
    """A version that was exported from the run.

    Attributes:
      name: The model's.
      version: Its number.
      size_bytes: Of its files.
      signatures: By name.
      exported_at: ISO 8601; None if it is not told.
      verified_rows: On which its scores were compared with the run's; None if it is not told.
      largest_difference: That was found there.
    """

    name: str
    version: int
    size_bytes: int
    signatures: Sequence[str]
    exported_at: str | None = None
    verified_rows: int | None = None
    largest_difference: float | None = None


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """A run as its page shows it; what a folder has not got is None.

    Attributes:
      name: Of the folder.
      title: What was trained on what.
      schema: With everything settled.
      settings: The configuration as plain values, without the schema.
      config_text: The configuration as YAML, the schema included.
      report: The test metrics.
      facts: What `page.json` tells.
      history: Per validation; of an ensemble with the column `seed`.
      gradients: Per step, likewise.
      out_of_vocabulary: By feature, the shares in `train`, `valid`, `test`.
      split: The rule that split the rows, as plain values.
      held_out: Some test rows.
      servable: A version that was exported from the run.
      lineage: The days that it has learned; None without further ones.
    """

    name: str
    title: str
    schema: Schema
    settings: Mapping[str, Any]
    config_text: str
    report: Report | None = None
    facts: RunFacts | None = None
    history: pd.DataFrame | None = None
    gradients: pd.DataFrame | None = None
    out_of_vocabulary: pd.DataFrame | None = None
    split: Mapping[str, Any] | None = None
    held_out: pd.DataFrame | None = None
    servable: Servable | None = None
    lineage: Lineage | None = None

    @property
    def known(self) -> RunFacts:
        """The facts, or ones that tell nothing."""
        return self.facts or RunFacts()
