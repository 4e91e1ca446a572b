"""What the model keeps of the training rows: what each feature and label is, and the schema with all of it settled."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.data import columns
from htlnet_tf.data.labels import read_labels, require_observed
from htlnet_tf.documents import validate
from htlnet_tf.encoding.kinds import kind_of
from htlnet_tf.encoding.kinds.history import HistoryKind
from htlnet_tf.encoding.label_counting import LabelCounter
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.objectives.label_statistics import LabelStatistics
from htlnet_tf.schema import Schema
from htlnet_tf.schema.history import History


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TrainingStatistics:
    """Everything that is learnt from the training rows by counting.

    Args:
      schema: The schema with dtype, encoding and number of buckets of every categorical feature filled in.
      learned: By name of a feature, what its kind keeps; None of kinds that keep nothing.
      labels: By name of a continuous target, in its own unit; of the rows where it was observed.
      num_rows: Training rows counted.
      days: How often rows were counted: 1 for those that the encoder was fitted on, and each further day.
    """

    schema: Schema
    learned: dict[str, Any]
    labels: dict[str, LabelStatistics]
    num_rows: int
    days: int = 1

    @field_validator("learned")
    @classmethod
    def _of_its_kind(cls, learned: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        schema = info.data.get("schema")
        if not isinstance(schema, Schema):  # refused already
            return learned
        if learned.keys() != {feature.name for feature in schema.features}:
            raise ValueError(f"what was learnt of each feature is needed, received {sorted(learned)}")
        read: dict[str, Any] = {}
        for feature in schema.features:
            type_ = kind_of(feature).learned_type
            read[feature.name] = TypeAdapter(type_).validate_python(learned[feature.name]) if type_ else None
        return read

    @classmethod
    def fit(cls, schema: Schema, frames: pd.DataFrame | Iterable[pd.DataFrame]) -> TrainingStatistics:
        """Counts the training rows in one pass.

        Args:
          schema: The declared columns.
          frames: The training rows: one frame, or a stream of frames that is read once.

        Raises:
          InputError: A column is missing or holds a value its kind does not allow, or there are no rows.
        """
        counters = {f.name: kind_of(f).counter(f, schema) for f in schema.features}
        amounts, observed = {t.name: LabelCounter() for t in schema.amounts}, Counter[str]()
        num_rows = 0
        for frame in [frames] if isinstance(frames, pd.DataFrame) else frames:
            columns.require_columns(frame, (f.source for f in schema.inputs), purpose="training rows")
            num_rows += len(frame)
            for counter in counters.values():
                counter.update(frame)
            labels = read_labels(frame, schema)
            observed.update({name: int(mask.sum()) for name, mask in labels.observed.items()})
            for name, amount in amounts.items():
                amount.update(columns.normal_float32(labels.values[name][labels.observed[name]]))
        if num_rows == 0:
            raise InputError("training rows: there are none to fit the encoder on")
        require_observed(schema, observed, purpose="training rows")
        settled = {name: counter.settled(counters) for name, counter in counters.items()}
        return cls(
            schema=schema.with_features(feature for feature, _ in settled.values()),
            learned={name: learned for name, (_, learned) in settled.items()},
            labels={name: amount.statistics() for name, amount in amounts.items()},
            num_rows=num_rows,
        )

    def with_history(
        self, schema: Schema, learn: Callable[[type[HistoryKind[Any]], History], Any]
    ) -> TrainingStatistics:
        """The same with history statistics.

        Args:
          schema: As declared, with them.
          learn: Gives what is kept of one, by its kind.
        """
        settled = {feature.name: feature for feature in self.schema.features}
        features = [settled.get(feature.name, feature) for feature in schema.features]
        kinds = {f.name: cast("type[HistoryKind[Any]]", kind_of(f)) for f in schema.history}
        learned = self.learned | {f.name: learn(kinds[f.name], f) for f in schema.history}
        in_order = {feature.name: learned[feature.name] for feature in features}
        return dataclasses.replace(self, schema=schema.with_features(features), learned=in_order)

    def save(self, path: str | Path) -> None:
        """Writes the statistics as one JSON file."""
        with atomic_file(path) as partial:
            partial.write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        """The statistics as a JSON document."""
        document = _ADAPTER.dump_python(self, mode="json", exclude={"schema"}) | {"schema": self.schema.to_dict()}
        return json.dumps(document, ensure_ascii=False)

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
        if isinstance(document, dict) and "learned" not in document and {"core", "vocabularies"} & document.keys():
            raise InputError(f"'{path}' was written by version 0.1, whose models are other ones: train the model again")
        return validate(_ADAPTER, document, source=str(path))


_ADAPTER: TypeAdapter[TrainingStatistics] = TypeAdapter(TrainingStatistics)
