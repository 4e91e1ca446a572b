"""Reads a table once, chunk by chunk, and says what is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.inspection import names
from htlnet_tf.inspection.days import DayCounter
from htlnet_tf.inspection.duplicates import DuplicateCounter
from htlnet_tf.inspection.forms import find_reading
from htlnet_tf.inspection.funnel import MAX_LABEL_COLUMNS, guess_timestamp, may_be_label, settle_funnel
from htlnet_tf.inspection.labels import LabelCounter
from htlnet_tf.inspection.leakage import find_suspects
from htlnet_tf.inspection.profile import ColumnCounter
from htlnet_tf.inspection.proposals import propose_columns
from htlnet_tf.inspection.readings import Puzzle, Reading, declared_readings
from htlnet_tf.inspection.report import Inspection
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.inspection.schema_check import SchemaCheck
from htlnet_tf.inspection.summaries import summarise_targets
from htlnet_tf.inspection.ties import find_ties
from htlnet_tf.inspection.values import Values, read_column
from htlnet_tf.schema import Schema

_HEAD_ROWS = 20_000


def inspect_rows(
    frames: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    schema: Schema | None = None,
    targets: Sequence[str] | None = None,
    timestamp: str | None = None,
    source: str = "",
    delimiter: str = ",",
) -> Inspection:
    """Looks at a table of logged impressions before anything is trained on it.

    The table is read once. Memory is bounded by the number of columns (some ten megabytes each), but for 8 bytes per
    row to find duplicates (16 while they are counted), up to a hundred million rows.

    Args:
      frames: One frame, or a stream of frames with the same columns. Where `attrs["file"]` names a file, the index of
        the frame are the row numbers in it.
      schema: If given, its columns must exist, every value of its features, targets and weights is checked, and its
        targets and timestamp are taken. Rows that break it are no error, but `Inspection.broken_rules`.
      targets: Without a schema: the funnel's columns in order, the core target last. None: guessed from the names and
        values; the report says so.
      timestamp: Without a schema: when the row was logged. None: a column of times, if there is one.
      source: What to call the table in the report.
      delimiter: Of the CSV files that the frames are of, for the proposed schema.

    Raises:
      InputError: There are no rows, a named column is missing, the chunks have different columns, or a named target
        holds something else than labels.
    """
    if schema is not None and (targets is not None or timestamp is not None):
        raise InputError("targets and timestamp are those of the schema; pass either a schema or these")
    if targets is not None and (len(targets) < 2 or len(set(targets)) < len(targets)):
        raise InputError(
            f"targets: name at least one step and then the core target, each once; received {list(targets)}"
        )
    reader = _Reader(schema, targets, timestamp)
    for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
        reader.read(frame)
    return reader.result(source, delimiter)


class _Reader:
    """The counters over one pass."""

    def __init__(self, schema: Schema | None, targets: Sequence[str] | None, timestamp: str | None) -> None:
        self._schema, self._targets = schema, targets
        self._timestamp = schema.time_column if schema is not None else timestamp
        self._check = None if schema is None else SchemaCheck(schema)
        self._rows = self._seen = 0
        self._columns: list[str] = []
        # The first chunks wait until there are rows enough to tell how the text of a column is read.
        self._waiting: list[pd.DataFrame] | None = []
        self._readings: dict[str, Reading] = {}
        self._remedies: dict[str, str] = {}

    def read(self, frame: pd.DataFrame) -> None:
        """Adds one chunk."""
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"a pandas DataFrame is needed, received {type(frame).__name__}")
        if not self._columns:
            self._start(frame)
        elif sorted(map(str, frame.columns)) != sorted(self._columns):
            different = sorted(set(map(str, frame.columns)) ^ set(self._columns))
            raise InputError(
                f"all parts of a table must have the same columns; from row {self._seen} on, not: {different}"
            )
        self._seen += len(frame)
        if not len(frame):
            return
        frame = frame.set_axis(frame.columns.map(str), axis=1)
        if self._waiting is None:
            self._count(frame)
            return
        self._waiting.append(frame)
        if self._seen >= _HEAD_ROWS:
            self._look_ahead()

    def _look_ahead(self) -> None:
        """Settles how columns are read, and counts the chunks that waited for it."""
        waiting, self._waiting = self._waiting or [], None
        if self._schema is not None:
            self._readings = declared_readings(self._schema)
        else:
            for name in self._columns:
                found = find_reading(name, [frame[name] for frame in waiting], is_label=name in self._labels_named)
                if isinstance(found, Reading):
                    self._readings[name] = found
                elif isinstance(found, Puzzle):
                    self._remedies[name] = found.remedy
        for name in self._labels_named:
            if name in self._remedies:
                raise InputError(f"targets: '{name}' must hold numbers; {self._remedies[name]}")
        if self._timestamp in self._remedies:
            raise InputError(f"timestamp: '{self._timestamp}': {self._remedies[self._timestamp]}")
        for frame in waiting:
            self._count(frame)

    def _read(self, frame: pd.DataFrame, name: str) -> Values:
        column, reading = frame[name], self._readings.get(name)
        if reading is None:
            return read_column(column, as_numbers=name in self._labels_named)
        values, offends = reading.read(column)
        if offends.any() and self._schema is None and name not in self._remedies:
            row = int(np.argmax(offends))
            self._remedies[name] = (
                f"{reading.what} but for {column.iloc[row]!r} (row {self._rows + row:,}, the first such): mend these"
            )
        return read_column(values, as_numbers=name in self._labels_named)

    def _count(self, frame: pd.DataFrame) -> None:
        chunk = {name: self._read(frame, name) for name in self._columns}
        for name, values in chunk.items():
            self._counters[name].update(values)
        if self._check is not None:
            self._check.update(frame, self._rows)
        self._labels.update(chunk, self._rows)
        self._days.update(chunk)
        self._duplicates.update(chunk[name].hashes for name in self._columns)
        self._sample.update(chunk, len(frame))
        self._rows += len(frame)

    def _start(self, frame: pd.DataFrame) -> None:
        self._columns = [str(name) for name in frame.columns]
        twice = sorted({name for name in self._columns if self._columns.count(name) > 1})
        if twice:
            raise InputError(f"column names must be unique, but these are there more than once: {twice}")
        self._aliases = names.exported_names(self._columns)
        declared = self._schema.columns if self._schema is not None else (*(self._targets or ()), self._timestamp)
        missing = [name for name in declared if name is not None and name not in self._columns]
        if missing:
            raise InputError(f"the table lacks the columns {missing}; it has {self._columns}")
        if self._schema is not None:
            self._labels_named = tuple(target.source for target in self._schema.targets)
        else:
            self._labels_named = tuple(self._targets or ())
        guesses = [name for name in self._columns if may_be_label(name)]
        labels = self._labels_named or tuple(guesses[:MAX_LABEL_COLUMNS])
        timestamps = [self._timestamp] if self._timestamp is not None else self._columns
        self._counters = {name: ColumnCounter(name) for name in self._columns}
        self._labels = LabelCounter(labels)
        self._days = DayCounter(timestamps, labels, skips_text=self._timestamp is None)
        self._duplicates = DuplicateCounter()
        self._sample = Sample(self._columns)

    def result(self, source: str, delimiter: str) -> Inspection:
        """What was read."""
        if self._waiting:
            self._look_ahead()
        if not self._rows:
            raise InputError(f"{source or 'the table'} has no rows")
        profiles = {name: counter.result() for name, counter in self._counters.items()}
        funnel = settle_funnel(
            profiles,
            self._labels,
            schema=self._schema,
            named=self._targets,
            readings=self._readings,
            aliases=self._aliases,
        )
        timestamp = self._timestamp or guess_timestamp(profiles)
        spared = {*funnel.names, timestamp, *(self._schema.weights if self._schema is not None else ())}
        varying = [p for n, p in profiles.items() if n not in spared and p.distinct + bool(p.missing) > 1]
        tried = [(p.name, p.is_number or p.kinds == {"time"}) for p in varying]
        averaged = [target.source for target in funnel.targets if target.kind != "multiclass"]
        broken = () if self._check is None else self._check.result()
        suspects = find_suspects(self._sample, tried, funnel.targets)
        ties = find_ties(self._sample, profiles, (p.name for p in varying), funnel.targets)
        return Inspection(
            source=source,
            rows=self._rows,
            sampled_rows=len(self._sample),
            profiles=profiles,
            funnel=funnel,
            targets=summarise_targets(funnel, profiles, self._labels, self._sample, broken),
            violations=self._labels.violations(averaged),
            timestamp=timestamp,
            timestamp_is_guessed=self._timestamp is None and timestamp is not None,
            days=None if timestamp is None else self._days.result(timestamp, averaged),
            duplicates=self._duplicates.result(),
            suspects=suspects,
            proposals=propose_columns(
                profiles,
                self._sample,
                funnel=funnel,
                timestamp=timestamp,
                weights=() if self._schema is None else self._schema.weights,
                suspects=suspects,
                ties=ties,
                readings=self._readings,
                remedies=self._remedies,
                aliases=self._aliases,
            ),
            ties=tuple(ties.values()),
            delimiter=delimiter,
            readings=dict(self._readings),
            schema=self._schema,
            broken_rules=broken,
        )
