"""The features: what the vocabularies lack, and whether the test rows are like the training rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from htlnet_tf.judging.drift import LARGE, NOTABLE
from htlnet_tf.page.blocks import Cell, Column, Section, Table, Text
from htlnet_tf.page.numbers import share_text
from htlnet_tf.schema import Schema

_SHOWN = 40
_LABELS = {"train": "training", "valid": "validation", "test": "test"}


def data_section(
    schema: Schema, unknown: pd.DataFrame | None, drift: Mapping[str, float | None] | None = None
) -> Section | None:
    """One line per feature.

    Args:
      schema: Declares them.
      unknown: By feature with a vocabulary, the shares out of it in `train`, `valid`, `test`.
      drift: By feature, the population stability between training and test rows.
    """
    if unknown is None and not drift:
        return None
    said = "Unknown: the share of a feature's values that the training rows have not, or too rarely to be told apart."
    if drift:
        said += (
            f" Drift: the population stability index of known values between training and test rows; below {NOTABLE:g} "
            f"stable, from {LARGE:g} on another population."
        )
    parts = [] if unknown is None else [str(part) for part in unknown.columns]
    rows = []
    for feature in schema.features:
        line = [Cell(feature.name), Cell(getattr(feature, "group", "derived")), Cell(feature.kind.replace("_", " "))]
        for part in parts:
            known = unknown is not None and feature.name in unknown.index
            value = float(np.asarray(unknown.loc[feature.name, part])) if known and unknown is not None else None
            line.append(Cell("-") if value is None else Cell(share_text(value), value, bar=value or None))
        if drift:
            line.append(_drift_cell(drift.get(feature.name)))
        rows.append(line)
    columns = [Column("feature", is_number=False), Column("group", is_number=False), Column("kind", is_number=False)]
    columns += [Column(f"unknown in {_LABELS.get(part, part)}") for part in parts]
    columns += [Column("drift")] if drift else []
    if drift:
        rows.sort(key=lambda line: -(line[-1].value or 0.0))
    return Section("data", "The features", [Text(said), Table("Features", columns, rows[:_SHOWN], rows[_SHOWN:])])


def _drift_cell(value: float | None) -> Cell:
    if value is None or np.isnan(value):
        return Cell("undefined", note="one side has no values")
    note = "another population" if value >= LARGE else "notable" if value >= NOTABLE else ""
    return Cell(f"{value:.4f}", value, note, bar=min(value / LARGE, 1.0), colour="c2" if note else "c1")
