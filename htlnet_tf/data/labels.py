"""A table's target columns as checked labels, and which row counts how much for which target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import (
    Arrays,
    beyond_float32,
    by_value,
    numbers,
    refuse,
    require_columns,
    text_of_value,
    whole,
)
from htlnet_tf.data.values import MISSING_WORDS
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Continuous, Multiclass, Schema
from htlnet_tf.schema.targets import Target, opposite


class Labels(NamedTuple):
    """The targets of a frame.

    Attributes:
      values: By target name, [N]: float32 for `Binary`, int32 for `Multiclass`, float64 for the core target, in its own
        unit; 0 where the label was not observed.
      observed: By target name, bool [N]: the label is present, and what the target's `observed_if` names happened.
    """

    values: Arrays
    observed: Arrays


def read_labels(frame: pd.DataFrame, schema: Schema) -> Labels:
    """The targets of a frame, checked. A missing label (NaN, None) is no error: the row is not observed.

    A label that does not count because of `observed_if` must be valid, or missing, all the same.

    Raises:
      InputError: A column is missing or a label is outside {0, 1}, no class, infinite, or a negative amount where that
        is impossible; names column, row and value.
    """
    require_columns(frame, (t.source for t in schema.targets), purpose="targets")
    numeric = {t.name: _checked(frame[t.source], t, schema) for t in schema.targets}
    values: Arrays = {}
    observed: Arrays = {}
    for target in schema.targets:
        present = ~np.isnan(numeric[target.name])
        if target.observed_if is not None:
            # An earlier step that does not count itself has not been seen to happen.
            present &= observed[target.observed_if] & (numeric[target.observed_if] == 1)
        observed[target.name] = present
        values[target.name] = np.where(present, numeric[target.name], 0.0).astype(_DTYPES[type(target)])
    return Labels(values, observed)


def label_values(frame: pd.DataFrame, schema: Schema) -> tuple[Arrays, Arrays | None]:
    """The targets of a frame as training takes them: labels, and the rows' weights in each target's loss.

    Args:
      frame: Logged impressions with the targets and the schema's columns of sample weights.
      schema: The declared columns.

    Returns:
      Labels by target name, as in `Labels.values`, and weights by target name, float32 [N]: 0 for a row that takes no
      part in the target (its label was not observed or it has the weight 0; the label given is then 0), else the
      schema's `sample_weight` times the target's. None instead of weights where every row has the weight 1 because none
      are declared and every label was observed.

    Raises:
      InputError: As for `read_labels`, or a weight is missing, negative or infinite.
    """
    values, observed = read_labels(frame, schema)
    if not schema.weights and all(mask.all() for mask in observed.values()):
        return values, None
    require_columns(frame, schema.weights, purpose="sample weights")
    columns = {name: _row_weights(frame[name], schema) for name in schema.weights}
    weights: Arrays = {}
    for target in schema.targets:
        weight = observed[target.name].astype(np.float64)
        for name in (schema.sample_weight, target.sample_weight):
            if name is not None:
                weight = weight * columns[name]
                rule = f"the product of the sample weights of target '{target.name}' must be finite in float32"
                refuse(frame[name], beyond_float32(weight), rule=rule)
        weights[target.name] = weight.astype(np.float32)
        values[target.name] = np.where(weights[target.name] != 0, values[target.name], 0).astype(_DTYPES[type(target)])
    return values, weights


def label_columns(labels: np.ndarray, target: Target) -> np.ndarray:
    """Labels as numbers whose means say something, float64 [N, 1]; of a multiclass target [N, K], 1 at the class.

    Args:
      labels: [N], as `Labels.values` has them.
      target: Whose.
    """
    if isinstance(target, Multiclass):
        return np.eye(target.num_classes)[labels.astype(np.int64)]
    return np.asarray(labels, np.float64)[:, np.newaxis]


def sample_weights(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """The schema's `sample_weight` of each row, float64 [N]; 1 where none is declared.

    Raises:
      InputError: As for `label_values`.
    """
    if schema.sample_weight is None:
        return np.ones(len(frame))
    require_columns(frame, [schema.sample_weight], purpose="sample weights")
    return _row_weights(frame[schema.sample_weight], schema)


def require_observed(schema: Schema, counts: Mapping[str, int], *, purpose: str) -> None:
    """Checks that every target has labels to learn from.

    Args:
      schema: Declares the targets.
      counts: Observed labels by target name, over all rows.
      purpose: What the rows are for, e.g. `"training rows"`.

    Raises:
      InputError: A target has none; names its column.
    """
    for target in schema.targets:
        if not counts[target.name]:
            where = "" if target.observed_if is None else f" in a row where '{target.observed_if}' is 1"
            raise InputError(
                f"{purpose}: target '{target.name}' needs labels; received a column '{target.source}' without a single "
                f"one{where}, from row 0 to the last"
            )


def flags(column: pd.Series, target: Binary) -> tuple[np.ndarray, np.ndarray]:
    """Labels that are words, by the labels that a target declares.

    Returns:
      float64 [N], 1 and 0, NaN where the label is missing; and bool [N], which values are neither label.
    """
    codes, distinct = by_value(column)
    values, offends = np.full(len(distinct) + 1, np.nan), np.zeros(len(distinct) + 1, bool)
    for i, value in enumerate(map(text_of_value, distinct)):
        said = target.happened(value)
        # "NA" may be a label; an open negative one leaves it missing.
        if value in MISSING_WORDS and not (said or str(target.negative) == value):
            continue
        values[i], offends[i] = (0.0, True) if said is None else (float(said), False)
    return values[codes], offends[codes]  # the last one is the missing value, code -1


def _checked(column: pd.Series, target: Binary | Multiclass | Continuous, schema: Schema) -> np.ndarray:
    """float64 [N], NaN where the label is missing."""
    if isinstance(target, Binary) and target.positive is not None:
        values, offends = flags(column, target)
        negative = target.negative if target.negative is not None else opposite(target.positive)
        refuse(column, offends, rule=f"target '{target.name}' is {target.positive!r} or {negative!r}")
        return values
    decimal = schema.decimal_of(target)
    values = numbers(column, rule=f"target '{target.name}' must be a number", decimal=decimal)
    present = ~np.isnan(values)
    if isinstance(target, Binary):
        offends = (values != 0) & (values != 1)
        refuse(column, offends & present, rule=f"target '{target.name}' is binary: 0 or 1")
    elif isinstance(target, Multiclass):
        known = (values >= 0) & (values < target.num_classes) & whole(values)
        rule = f"target '{target.name}' is a class in 0 .. {target.num_classes - 1}"
        refuse(column, ~known & present, rule=rule)
    else:
        refuse(column, beyond_float32(values), rule=f"target '{target.name}' must be finite in float32")
        if target.non_negative:
            rule = f"target '{target.name}' must not be negative (declare it with non_negative false if it can be)"
            refuse(column, values < 0, rule=rule)
    return values


def _row_weights(column: pd.Series, schema: Schema) -> np.ndarray:
    rule = "a sample weight must be a finite number, not negative and not missing"
    values = numbers(column, rule=rule, decimal=schema.decimal)
    refuse(column, ~(values >= 0) | beyond_float32(values), rule=rule)
    return values


_DTYPES: dict[type, type] = {Binary: np.float32, Multiclass: np.int32, Continuous: np.float64}
