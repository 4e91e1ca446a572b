"""`htlnet gate NEW --against STABLE --data ROWS`: whether one run's model is at least as good as another's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from htlnet_tf.data.labels import read_labels
from htlnet_tf.data.stream import Stream
from htlnet_tf.data.users import read_users
from htlnet_tf.documents import validate
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.judging import gate as judging
from htlnet_tf.judging.gate import GateReport
from htlnet_tf.judging.gate_settings import GateSettings
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.runs.config import RunConfig, change_setting
from htlnet_tf.runs.drift import later_rows
from htlnet_tf.runs.folder import load_config, load_model
from htlnet_tf.schema import Schema
from htlnet_tf.scoring.prediction import predict_encoded


def gate(
    new: str | Path, against: str | Path, rows: pd.DataFrame | str | Path, *, changes: Sequence[str] = ()
) -> GateReport:
    """Compares two runs' models on the same rows.

    Args:
      new: The run folder of the new model, whose configuration has the margins.
      against: That of the model in service.
      rows: Rows with labels, all of which are judged: a frame, or the path that the runs' loaders read.
      changes: In place of settings of the gate, `gate.margins.auc=0.01`.

    Raises:
      InputError: A folder is no run, a change is none of the gate, the runs have other targets, or the rows are not
        usable; names file, column and row.
    """
    for change in changes:
        _require_of_gate(change)
    config, (_, model) = load_config(new, changes), load_model(new)
    config_before, before = load_model(against)
    judging.require_same_targets(model.schema, before.schema)
    mine = _scored(model, _rows(config, rows, model.schema))
    others = _scored(before, _rows(config_before, rows, before.schema))
    # Where bad rows are skipped, the two schemas may skip others.
    both = mine.predictions.index.intersection(others.predictions.index, sort=False)
    if not len(both):
        raise InputError("there are no rows that both models can be judged on")
    return judging.gate(
        model.schema,
        mine.labels.loc[both],
        mine.predictions.loc[both],
        others.predictions.loc[both],
        None if mine.users is None else mine.users.loc[both],
        config.gate,
        stable_schema=before.schema,
    )


def gate_settings(changes: Sequence[str]) -> GateSettings:
    """The usual settings of the gate with changes, each `gate.field=value`.

    Raises:
      InputError: A change is none of the gate, or breaks a rule.
    """
    document: dict[str, Any] = {"gate": {}}
    for change in changes:
        _require_of_gate(change)
        change_setting(document, change, source="the gate's settings")
    settings: GateSettings = validate(TypeAdapter(GateSettings), document["gate"], source="gate")
    return settings


def _require_of_gate(change: str) -> None:
    if not change.startswith("gate."):
        raise InputError(f"settings of the gate are such as gate.margins.auc=0.01, received '{change}'")


@dataclasses.dataclass(frozen=True)
class _Scored:
    """Rows by their place: the file and the number there, or the number in the frame."""

    labels: pd.DataFrame
    predictions: pd.DataFrame
    users: pd.Series | None


def _rows(config: RunConfig, rows: pd.DataFrame | str | Path, schema: Schema) -> Rows:
    return rows if isinstance(rows, pd.DataFrame) else later_rows(config, rows, schema)


def _scored(model: ScoringModel, rows: Rows) -> _Scored:
    schema = model.schema
    labels, predictions, users = [], [], []
    for frame in dataclasses.replace(rows, schema=schema) if isinstance(rows, Stream) else [rows]:
        file = str(frame.attrs["file"]) if isinstance(rows, Stream) else ""
        places = frame.index if isinstance(rows, Stream) else pd.RangeIndex(len(frame))
        index = pd.MultiIndex.from_product([[file], places], names=["file", "row"])
        read_labels(frame, schema)  # checked where a row still has its number in the file
        of_frame = read_users(frame, schema)
        if of_frame is not None:
            users.append(of_frame.set_axis(index))
        labels.append(frame[[target.source for target in schema.targets]].set_axis(index))
        predictions.append(predict_encoded(model, model.encoder.encode(frame), index))
    if not labels:
        raise InputError("there are no rows to judge the models on")
    return _Scored(pd.concat(labels), pd.concat(predictions), pd.concat(users) if users else None)
