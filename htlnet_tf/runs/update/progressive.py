"""Progressive validation: a day is predicted before it is learned."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.judging.evaluation import evaluate_predictions, score
from htlnet_tf.judging.reports import Report, format_value, metric_named
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema
from htlnet_tf.text_tables import aligned

_SHOWN: dict[str, tuple[str, ...]] = {
    "binary": ("auc", "logloss", "calibration_error"),
    "multiclass": ("macro_auc", "logloss", "accuracy"),
    "continuous": ("nrmse", "spearman", "gini", "level"),
}


@dataclasses.dataclass(frozen=True)
class Progressive:
    """The metrics of a day as the model before it predicts it.

    Attributes:
      reports: By which rows: `"all"`; and where there are any, `"new_user"`, whose user was out of vocabulary before
        the day, and `"new_item"`.
      identities: By `"user"` and `"item"`, the feature that says which one it is.
    """

    reports: dict[str, Report]
    identities: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        reports = {name: report.to_dict() for name, report in self.reports.items()}
        return {"identities": self.identities, "reports": reports}

    def headline(self) -> dict[str, dict[str, float | None]]:
        """Of all rows, by target, what is shown."""
        found: dict[str, dict[str, float | None]] = {}
        for row in self.reports["all"].rows:
            if row.metric in _SHOWN[row.kind]:
                found.setdefault(row.target, {})[row.metric] = None if np.isnan(row.value) else row.value
        return found

    def to_text(self) -> str:
        """A table for people: a line per target and sort of rows."""
        tables = []
        kinds = dict.fromkeys((row.kind, row.target) for row in self.reports["all"].rows)
        for kind in dict.fromkeys(kind for kind, _ in kinds):
            rows = [
                [target, name.replace("_", " "), f"{report.num_rows:,}"]
                + [format_value(report.value(target, metric), 4) for metric in _SHOWN[kind]]
                for of, target in kinds
                if of == kind
                for name, report in self.reports.items()
            ]
            labels = [metric_named(metric).label for metric in _SHOWN[kind]]
            tables.append(aligned([[kind, "rows of", "rows", *labels], *rows], left=(0, 1)))
        return "\n\n".join(tables)


def predict_before(model: ScoringModel, rows: Rows) -> Progressive:
    """Judges a model on a day that it has not learned.

    Args:
      model: As it was before the day.
      rows: The day.

    Raises:
      InputError: As for `htlnet_tf.evaluate`.
    """
    schema, encoder = model.schema, model.encoder
    scored = score(model, rows)
    reports = {"all": scored.report(schema)}
    found = identities(encoder)
    for who, is_new in new_values(encoder, rows, found).items():
        if is_new.any():
            users = None if scored.users is None else scored.users[is_new]
            labels, predictions = scored.labels[is_new], scored.predictions[is_new]
            reports[f"new_{who}"] = evaluate_predictions(schema, labels, predictions, users)
    return Progressive(reports, found)


def identities(encoder: FeatureEncoder) -> dict[str, str]:
    """By `"user"` and `"item"`, the feature that says which one it is.

    It is that of the schema's `user`; else, of the group's features with a vocabulary of their own and one value per
    row, the one with the most values. A group without any has none.
    """
    found, user = {}, encoder.schema.user_source
    for group in ("user", "item"):
        sizes = {
            name: kind.num_values
            for name, kind in encoder.kinds.items()
            if kind.num_values is not None
            and getattr(kind.feature, "group", None) == group
            and kind.fields()[0].slots == 1
        }
        if sizes:
            declared = [name for name in sizes if user and getattr(encoder.kinds[name].feature, "source", "") == user]
            found[group] = declared[0] if declared else max(sizes, key=lambda name: sizes[name])
    return found


def new_values(encoder: FeatureEncoder, rows: Rows, features: dict[str, str]) -> dict[str, np.ndarray]:
    """By key of `features`, which rows have a value of that feature that is out of vocabulary: bool [N].

    Args:
      encoder: Says what is known.
      rows: A frame or a stream.
      features: The features by any key.
    """
    frames = [rows] if isinstance(rows, pd.DataFrame) else _read(rows, encoder.schema)
    parts: dict[str, list[np.ndarray]] = {key: [] for key in features}
    for frame in frames:
        for key, name in features.items():
            kind = encoder.kinds[name]
            _, found = kind.of_column(frame[kind.feature.source], encoder.schema.decimal)
            block = encoder.blocks[name]
            missing = found[name] == block.missing if block.missing != block.unknown else np.zeros(1, bool)
            parts[key].append(np.any((found[name] == block.unknown) & ~missing, axis=1))
    return {key: np.concatenate(masks) for key, masks in parts.items()}


def _read(rows: Stream, schema: Schema) -> Stream:
    return dataclasses.replace(rows, schema=schema)
