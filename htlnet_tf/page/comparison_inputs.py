"""What the page of a comparison is made of: facts and tables as its folder has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.judging.reports import Report
from htlnet_tf.page.facts import FORMAT, facts_text, read_facts
from htlnet_tf.schema import Schema

_LENIENT = ConfigDict(extra="ignore")


@dataclass(frozen=True, config=_LENIENT)
class ComparedTable:
    """A table of the results.

    Args:
      name: As `summary.csv` has it.
      title: A heading.
      labels: By variant, the label of its row, references among them.
      references: Which of the variants are references.
    """

    name: str
    title: str
    labels: dict[str, str]
    references: tuple[str, ...] = ()


@dataclass(frozen=True, config=_LENIENT)
class ComparisonFacts:
    """What a comparison's folder keeps for its page, beside the files that it has anyway: `page.json`.

    Args:
      format: As for `RunFacts`, as the two that follow.
      made_at: When the last run was added.
      command: The last command line.
      schema: With everything settled, as plain values.
      tables: Of the results.
      constants: By name, the metrics of what is not fitted: the truth where it is known, the mean, zero.
    """

    format: int = FORMAT
    made_at: str | None = None
    command: str | None = None
    schema: dict[str, Any] | None = None
    tables: tuple[ComparedTable, ...] = ()
    constants: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def to_json(self) -> str:
        """As a JSON document."""
        return facts_text(self, _ADAPTER)

    @classmethod
    def load(cls, path: Path) -> ComparisonFacts | None:
        """Reads `page.json`; None if there is none.

        Raises:
          InputError: It is damaged, or of a later version that wants another reader.
        """
        facts: ComparisonFacts | None = read_facts(path, _ADAPTER)
        return facts


_ADAPTER: TypeAdapter[ComparisonFacts] = TypeAdapter(ComparisonFacts)


@dataclasses.dataclass(frozen=True)
class ComparisonInputs:
    """A comparison as its page shows it.

    Attributes:
      name: Of the folder.
      title: What was compared on what.
      schema: Declares the targets.
      settings: The configuration as plain values, without the schema.
      config_text: The configuration as YAML.
      tables: Of the results.
      summary: See `htlnet_tf.judging.summaries.summarise_reports`, with the column `table`.
      tests: See `htlnet_tf.comparison.significance.paired_tests`, likewise; None: there are none.
      runs: Every run in a row.
      constants: By name, the metrics of what is not fitted.
      calibration: By variant, the bins of its runs' test rows, the mean over the seeds.
      histories: By variant, the validations of its first run.
      gradients: By what they are called, the gradients of single runs.
      out_of_vocabulary: By feature, the shares in `train` and `valid`.
      split: The rule that split the rows, as plain values.
      versions: Of Python and the packages that results depend on.
      num_train: Training rows.
      facts: What `page.json` tells.
    """

    name: str
    title: str
    schema: Schema
    settings: Mapping[str, Any]
    config_text: str
    tables: Sequence[ComparedTable]
    summary: pd.DataFrame
    runs: pd.DataFrame
    tests: pd.DataFrame | None = None
    constants: Mapping[str, Report] = dataclasses.field(default_factory=dict)
    calibration: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    histories: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    gradients: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    out_of_vocabulary: pd.DataFrame | None = None
    split: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_train: int | None = None
    facts: ComparisonFacts | None = None
