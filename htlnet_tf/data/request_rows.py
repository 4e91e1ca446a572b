"""What a signature leaves open of a schema, settled: then rows become what requests to the exported model carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from htlnet_tf.errors import InputError
from htlnet_tf.schema import Categorical, Schema, Timestamp
from htlnet_tf.schema.features import CategoricalDtype, Input

_DTYPES: dict[str, CategoricalDtype] = {"DT_INT64": "int64", "DT_STRING": "string"}


def schema_of_model(schema: Schema, dtypes: Mapping[str, str]) -> Schema:
    """A schema as `raw_features` takes it: dtypes that it leaves open are those that the model was trained with.

    Args:
      schema: As in training.
      dtypes: The model's inputs by name, each with its type in a signature: `"DT_STRING"`, `"DT_INT64"`, `"DT_FLOAT"`.

    Raises:
      InputError: The schema has not the inputs of the model, or has one of another type.
    """
    names = [feature.name for feature in schema.inputs]
    if set(names) != set(dtypes):
        raise InputError(
            f"the schema must be the one that the model was trained with: it has the features {sorted(names)}, and the "
            f"model takes {sorted(dtypes)}"
        )
    settled = schema.with_features(
        dataclasses.replace(f, dtype=f.dtype or _DTYPES.get(dtypes[f.name])) if isinstance(f, Categorical) else f
        for f in schema.features
    )
    for feature in settled.inputs:
        sent, taken = _sent_as(feature), dtypes[feature.name]
        if sent != taken:
            raise InputError(
                f"the schema must be the one that the model was trained with: its {feature.kind} feature "
                f"'{feature.name}' is sent as {sent}, and the model takes {taken}"
            )
    return settled


def _sent_as(feature: Input) -> str:
    if isinstance(feature, Categorical):
        return next((sent for sent, dtype in _DTYPES.items() if dtype == feature.dtype), "DT_INVALID")
    return "DT_INT64" if isinstance(feature, Timestamp) else "DT_FLOAT"
