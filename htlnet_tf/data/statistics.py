"""What the model keeps of the training rows: vocabularies, moments and the schema with every dtype settled."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.data import columns
from htlnet_tf.documents import validate
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file
from htlnet_tf.schema import Categorical, Numeric, Schema

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Vocabulary:
    """The values of one categorical feature that have an embedding row of their own.

    Args:
      values: Distinct values, most frequent first, ties by value.
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
      schema: The schema with the dtype of every categorical feature filled in.
      vocabularies: By name of a categorical feature.
      moments: By name of a numeric feature.
      core: Of the core target, in its own unit, whether or not it is standardised.
      num_rows: Training rows counted.
    """

    schema: Schema
    vocabularies: dict[str, Vocabulary]
    moments: dict[str, Moments]
    core: Moments
    num_rows: int

    @classmethod
    def fit(cls, schema: Schema, frames: pd.DataFrame | Iterable[pd.DataFrame]) -> TrainingStatistics:
        """Counts the training rows in one pass.

        Args:
          schema: The declared columns.
          frames: The training rows: one frame, or a stream of frames that is read once.

        Raises:
          InputError: A column is missing or holds a value its kind does not allow, or there are no rows.
        """
        resolved: dict[str, Categorical] = {}
        counters: dict[str, Counter[Any]] = {f.name: Counter() for f in schema.categoricals}
        longest = {f.name: 1 for f in schema.categoricals}
        numeric = {f.name: _RunningMoments() for f in schema.numerics}
        core = _RunningMoments()
        num_rows = 0
        for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
            columns.require_columns(frame, (f.name for f in schema.features), purpose="training rows")
            num_rows += len(frame)
            for feature in schema.categoricals:
                if feature.name not in resolved:
                    dtype = columns.categorical_dtype(frame[feature.name], feature)
                    try:
                        resolved[feature.name] = dataclasses.replace(feature, dtype=dtype)
                    except ValueError as error:
                        raise InputError(f"column '{feature.name}' holds {dtype} values: {error}") from error
                counts, length = _value_counts(frame[feature.name], resolved[feature.name])
                counters[feature.name].update(counts)
                longest[feature.name] = max(longest[feature.name], length)
            for number in schema.numerics:
                numeric[number.name].update(_transformed(frame[number.name], number))
            core.update(columns.target_values(frame, schema)[schema.core.name])
        if num_rows == 0:
            raise InputError("training rows: there are none to fit the encoder on")
        return cls(
            schema=schema.with_features(resolved.get(f.name, f) for f in schema.features),
            vocabularies={
                f.name: _vocabulary(counters[f.name], resolved[f.name], longest[f.name]) for f in schema.categoricals
            },
            moments={name: running.result() for name, running in numeric.items()},
            core=core.result(),
            num_rows=num_rows,
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
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"'{path}' is damaged: {error}") from error
        return validate(_ADAPTER, document, source=str(path))


class _RunningMoments:
    """Mean and variance of a stream of chunks (Chan, Golub, LeVeque 1979), exact where a sum of squares is not."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares, self.missing = 0, 0.0, 0.0, False

    def update(self, values: np.ndarray) -> None:
        present = values[~np.isnan(values)]
        self.missing |= len(present) < len(values)
        if not len(present):
            return
        mean, count = float(np.mean(present)), self.count + len(present)
        delta = mean - self.mean
        self.squares += float(np.sum((present - mean) ** 2)) + delta**2 * self.count * len(present) / count
        self.mean += delta * len(present) / count
        self.count = count

    def result(self) -> Moments:
        std = float(np.sqrt(self.squares / self.count)) if self.count else 0.0
        # A column whose spread is rounding error is constant.
        constant = std <= 1e-12 * max(1.0, abs(self.mean))
        return Moments(mean=self.mean, std=1.0 if constant else std, has_missing=self.missing)


def _transformed(column: pd.Series, feature: Numeric) -> np.ndarray:
    values = columns.numeric_values(column, feature)
    return np.log1p(values) if feature.log1p else values


def _value_counts(column: pd.Series, feature: Categorical) -> tuple[dict[Any, int], int]:
    """Counts per raw value, and the length of the longest list of values in a row."""
    if feature.dtype == "int64":
        values, counts = np.unique(columns.int64_values(column, feature), return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True)), 1
    counts_by_text = pd.Series(columns.string_values(column, feature), dtype=object).value_counts().to_dict()
    if feature.separator is None:
        return counts_by_text, 1
    token_counts: Counter[str] = Counter()
    longest = 1
    for text, count in counts_by_text.items():
        # The white space that tf.strings.strip takes away, and no other: the graph must find what is counted here.
        tokens = [token.strip(" \t\n\v\f\r") for token in str(text).split(feature.separator)]
        tokens = [token for token in tokens if token and token not in feature.missing_values]
        longest = max(longest, len(tokens))
        for token in tokens[: feature.max_length] or [columns.MISSING_STRING]:
            token_counts[token] += count
    return token_counts, longest


def _vocabulary(counts: Counter[Any], feature: Categorical, longest: int) -> Vocabulary:
    missing = missing_codes(feature)
    kept = [(v, c) for v, c in counts.items() if v not in missing and c >= feature.min_count]
    return Vocabulary(
        values=tuple(value for value, _ in sorted(kept, key=lambda item: (-item[1], item[0]))),
        has_missing=any(counts.get(code, 0) for code in missing),
        slots=min(longest, feature.max_length),
    )


def missing_codes(feature: Categorical) -> tuple[int | str, ...]:
    """Raw values of a categorical feature that stand for "missing": the type's own code, then the declared ones."""
    if feature.dtype == "int64":
        return (columns.MISSING_INT64, *(int(v) for v in feature.missing_values))
    return (columns.MISSING_STRING, *(str(v) for v in feature.missing_values))


_ADAPTER: TypeAdapter[TrainingStatistics] = TypeAdapter(TrainingStatistics)
