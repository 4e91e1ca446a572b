"""What looking at a table found."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names, text
from htlnet_tf.inspection.columns_text import declared_as
from htlnet_tf.inspection.days import Days
from htlnet_tf.inspection.duplicates import Duplicates
from htlnet_tf.inspection.funnel import Funnel
from htlnet_tf.inspection.kinds import Proposal
from htlnet_tf.inspection.labels import Violation
from htlnet_tf.inspection.leakage import Suspect
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.proposals import build_schema, schema_text
from htlnet_tf.inspection.readings import Reading
from htlnet_tf.inspection.schema_check import BrokenRule
from htlnet_tf.inspection.summaries import TargetSummary
from htlnet_tf.inspection.ties import Tie
from htlnet_tf.schema import Schema

_MOST_FREQUENT = 5


@dataclass(frozen=True)
class Inspection:
    """What is in a table of logged impressions. Rows are counted from 0 over all its parts.

    Args:
      source: What the table is called.
      rows: Rows read.
      sampled_rows: Rows of the uniform sample that quantiles, skewness and leakage are computed from.
      profiles: What each column holds, in the table's order.
      funnel: The targets, and where they come from.
      targets: What their labels say.
      violations: Steps that happened although an earlier one did not.
      timestamp: The column that says when a row was logged.
      timestamp_is_guessed: Whether it was neither declared nor named.
      days: Rows and labels per day; None without a timestamp that holds dates.
      duplicates: Rows that repeat an earlier one.
      suspects: Columns that alone predict a target.
      proposals: What to do with each column.
      schema: The schema that the table was held against.
      broken_rules: Its rules that rows break, in the order of its columns.
      ties: Columns without or with which a target never or always happens.
      delimiter: Of the CSV files.
      readings: How columns of text are read, by column: decimal commas, written times, words for yes and no.
    """

    source: str
    rows: int
    sampled_rows: int
    profiles: dict[str, ColumnProfile]
    funnel: Funnel
    targets: tuple[TargetSummary, ...]
    violations: tuple[Violation, ...]
    timestamp: str | None
    timestamp_is_guessed: bool
    days: Days | None
    duplicates: Duplicates
    suspects: tuple[Suspect, ...]
    proposals: dict[str, Proposal]
    schema: Schema | None = None
    broken_rules: tuple[BrokenRule, ...] = ()
    ties: tuple[Tie, ...] = ()
    delimiter: str = ","
    readings: dict[str, Reading] = dataclasses.field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no row breaks the schema; without one there is nothing to break."""
        return not self.broken_rules

    def bad_rows(self, name: str) -> int:
        """Rows whose value of a column breaks the schema."""
        return sum(broken.rows for broken in self.broken_rules if broken.column == name)

    @property
    def outcome_like(self) -> tuple[str, ...]:
        """Columns that are no targets, whose names suggest an outcome and whose values do not speak against it."""
        named = (n for n in self.profiles if n not in self.funnel.names and names.is_outcome_like(n))
        return tuple(n for n in named if self.proposals[n].role == "left out" or not self.funnel.targets)

    @property
    def is_dated(self) -> bool:
        """Whether every row has a time, so that a split by time is possible."""
        return self.timestamp is not None and not self.profiles[self.timestamp].missing

    def propose_schema(self) -> Schema:
        """A first schema: without constants, row ids, leakage suspects and other columns that look like outcomes.

        Raises:
          InputError: No targets were found, or no categorical feature is left.
        """
        return build_schema(
            self.proposals, self.funnel, self.timestamp, delimiter=self.delimiter, readings=self.readings
        )

    def schema_text(self) -> str:
        """The proposed schema as commented YAML, which `Schema.from_yaml` reads; what was left out is said on top.

        Raises:
          InputError: As for `propose_schema`.
        """
        return schema_text(self.propose_schema(), self.profiles, self.proposals)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where something is undefined."""
        try:
            proposed, obstacle = self.propose_schema().to_dict(), None
        except InputError as error:
            proposed, obstacle = None, str(error)
        document = {
            "source": self.source,
            "rows": self.rows,
            "sampled_rows": self.sampled_rows,
            "ok": self.ok,
            "broken_rules": [dataclasses.asdict(broken) for broken in self.broken_rules],
            "duplicates": dataclasses.asdict(self.duplicates),
            "funnel": {"origin": self.funnel.origin, "steps": list(self.funnel.names)},
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "violations": [dataclasses.asdict(violation) for violation in self.violations],
            "timestamp": {"column": self.timestamp, "is_guessed": self.timestamp_is_guessed},
            "days": None if self.days is None else dataclasses.asdict(self.days),
            "leakage_suspects": [dataclasses.asdict(suspect) for suspect in self.suspects],
            "ties": [dataclasses.asdict(tie) | {"reason": tie.reason} for tie in self.ties],
            "delimiter": self.delimiter,
            "outcome_like": list(self.outcome_like),
            "columns": [self._column(name) for name in self.profiles],
            "proposed_schema": proposed,
            "no_schema_because": obstacle,
        }
        return _jsonable(document)

    def _column(self, name: str) -> dict[str, Any]:
        profile, proposal = self.profiles[name], self.proposals[name]
        document = {
            "name": name,
            "dtype": profile.dtype,
            "missing_share": profile.missing / profile.rows,
            "distinct": profile.distinct,
            "distinct_is_exact": profile.distinct_is_exact,
            "most_frequent": [[v, n / profile.rows] for v, n in list(profile.counts.items())[:_MOST_FREQUENT]],
            **{key: getattr(profile, key) for key in ("minimum", "maximum", "mean", "std")},
            "read_as": self.readings[name].what if name in self.readings else None,
            "role": proposal.role,
            "proposed": proposal.kind,
            "reason": proposal.reason,
        }
        if self.schema is not None:
            document["declared"] = declared_as(self.schema, name)
            document["bad_rows"] = self.bad_rows(name)
        return document

    def to_text(self) -> str:
        """The report for people, at most about 120 characters wide."""
        return text.render(self)

    def __str__(self) -> str:
        return self.to_text()


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
