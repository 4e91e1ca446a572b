"""What the model keeps of the training rows: vocabularies, moments and the schema with everything open settled."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.data import columns
from htlnet_tf.data.labels import read_labels, require_observed
from htlnet_tf.data.raw_features import numeric_values, time_values
from htlnet_tf.documents import validate
from htlnet_tf.encoding.counting import MAX_DISTINCT, RunningMoments, UniformSample, ValueCounts, as_dtype
from htlnet_tf.encoding.label_counting import LabelCounter
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.schema import Categorical, Numeric, Schema, Timestamp

MAX_VOCABULARY = 1_000_000
"""Values beyond which a categorical feature is hashed if its encoding was left open."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Vocabulary:
    """The values of one categorical feature that have an embedding row of their own.

    Args:
      values: Distinct values, most frequent first, ties by value; none for a feature that is hashed or that shares the
        rows of another.
      has_missing: Whether the training rows had a missing value; if so, "missing" has a row of its own.
      slots: Values kept per row: 1, or for a multi-valued feature the longest list seen, at most its `max_length`.
    """

    values: tuple[int | str, ...]
    has_missing: bool
    slots: int = 1


@dataclass(frozen=True, config=_STRICT)
class Moments:
    """Mean and standard deviation (population) of a column, after log1p if the feature asks for it.

    Args:
      mean: In the column's unit.
      std: In the column's unit; 1 for a constant column.
      has_missing: Whether the training rows had a missing value; if so, an indicator goes with the value.
    """

    mean: float
    std: float
    has_missing: bool = False


@dataclass(frozen=True, config=_STRICT)
class TrainingStatistics:
    """Everything that is learnt from the training rows by counting.

    Args:
      schema: The schema with dtype, encoding and number of buckets of every categorical feature filled in.
      vocabularies: By name of a categorical feature.
      moments: By name of a feature that is fed as a number.
      labels: By name of a continuous target, in its own unit; of the rows where it was observed.
      num_rows: Training rows counted.
      boundaries: By name of a feature in quantile buckets, the increasing bounds between them, float32.
    """

    schema: Schema
    vocabularies: dict[str, Vocabulary]
    moments: dict[str, Moments]
    labels: dict[str, LabelStatistics]
    num_rows: int
    boundaries: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @classmethod
    def fit(cls, schema: Schema, frames: pd.DataFrame | Iterable[pd.DataFrame]) -> TrainingStatistics:
        """Counts the training rows in one pass.

        Args:
          schema: The declared columns.
          frames: The training rows: one frame, or a stream of frames that is read once.

        Raises:
          InputError: A column is missing or holds a value its kind does not allow, or there are no rows.
        """
        counts = {f.name: ValueCounts(f, is_counted=_needs_counts(schema, f)) for f in schema.categoricals}
        numeric = {f.name: RunningMoments() for f in schema.numerics}
        bucketed = [f for f in schema.inputs if isinstance(f, Numeric) and f.quantile_buckets is not None]
        samples = {f.name: UniformSample() for f in bucketed}
        amounts, observed = {t.name: LabelCounter() for t in schema.amounts}, Counter[str]()
        num_rows = 0
        for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
            columns.require_columns(frame, (f.source for f in schema.inputs), purpose="training rows")
            num_rows += len(frame)
            for counter in counts.values():
                counter.update(frame[counter.feature.source])
            for moment in schema.inputs:
                if isinstance(moment, Timestamp):
                    time_values(frame[moment.source], moment)  # nothing to learn, but unreadable ones are told now
            for number in (*schema.numerics, *bucketed):
                values = numeric_values(frame[number.source], number, decimal=schema.decimal)
                if number.quantile_buckets is not None:
                    samples[number.name].update(values)
                else:
                    numeric[number.name].update(np.log1p(values) if number.log1p else values)
            labels = read_labels(frame, schema)
            observed.update({name: int(mask.sum()) for name, mask in labels.observed.items()})
            for name, amount in amounts.items():
                amount.update(columns.normal_float32(labels.values[name][labels.observed[name]]))
        if num_rows == 0:
            raise InputError("training rows: there are none to fit the encoder on")
        require_observed(schema, observed, purpose="training rows")
        settled, vocabularies = _vocabularies(counts)
        return cls(
            schema=schema.with_features(settled.get(f.name, f) for f in schema.features),
            vocabularies=vocabularies,
            moments={name: Moments(m.mean, m.std, m.has_missing) for name, m in numeric.items()},
            labels={name: amount.statistics() for name, amount in amounts.items()},
            num_rows=num_rows,
            boundaries={f.name: samples[f.name].boundaries(f.quantile_buckets or 2) for f in bucketed},
        )

    def save(self, path: str | Path) -> None:
        """Writes the statistics as one JSON file."""
        document = _ADAPTER.dump_python(self, mode="json", exclude={"schema"}) | {"schema": self.schema.to_dict()}
        with atomic_file(path) as partial:
            partial.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TrainingStatistics:
        """Reads a file written by `save`.

        Raises:
          InputError: The file is missing or damaged.
        """
        try:
            document = json.loads(local_path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"'{path}' is damaged: {error}") from error
        if isinstance(document, dict) and "core" in document and "labels" not in document:
            raise InputError(f"'{path}' was written by version 0.1, whose models are other ones: train the model again")
        return validate(_ADAPTER, document, source=str(path))


def _needs_counts(schema: Schema, feature: Categorical) -> bool:
    owner = schema.feature(feature.shares) if feature.shares is not None else feature
    assert isinstance(owner, Categorical)
    return owner.encoding != "hash" or owner.num_buckets is None


def _vocabularies(counts: dict[str, ValueCounts]) -> tuple[dict[str, Categorical], dict[str, Vocabulary]]:
    """The features with everything settled, and their vocabularies; features that share rows are counted together."""
    settled: dict[str, Categorical] = {}
    vocabularies: dict[str, Vocabulary] = {}
    for name, counter in counts.items():
        feature = counter.settled()
        if feature.shares is not None:
            settled[name], vocabularies[name] = feature, Vocabulary((), counter.has_missing, counter.longest)
            continue
        sharing = [c for c in counts.values() if c.feature.shares == name]
        total = Counter(counter.counts)
        for other in sharing:
            for value, n in other.counts.items():
                ours = as_dtype(value, feature.dtype)
                if ours is not None:
                    total[ours] += n
        kept = [(value, n) for value, n in total.items() if n >= feature.min_count]
        overflowed = any(c.overflowed for c in (counter, *sharing))
        if feature.encoding is None:
            few = len(kept) <= MAX_VOCABULARY and not overflowed
            feature = dataclasses.replace(feature, encoding="vocabulary" if few else "hash")
        values: tuple[Any, ...] = ()
        if feature.encoding == "vocabulary":
            values = tuple(value for value, _ in sorted(kept, key=lambda item: (-item[1], item[0])))
        elif feature.num_buckets is None:
            distinct = MAX_DISTINCT if overflowed else len(total)
            feature = dataclasses.replace(feature, num_buckets=max(2, 2 ** (distinct - 1).bit_length()))
        has_missing = any(c.has_missing for c in (counter, *sharing))
        settled[name], vocabularies[name] = feature, Vocabulary(values, has_missing, counter.longest)
    return settled, vocabularies


_ADAPTER: TypeAdapter[TrainingStatistics] = TypeAdapter(TrainingStatistics)
