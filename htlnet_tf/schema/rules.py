"""What the declarations of a schema must be to each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from htlnet_tf.schema.features import Categorical, Cross, Timestamp
from htlnet_tf.schema.history import CountEncoding, History, TargetEncoding
from htlnet_tf.schema.names import THRESHOLDS, Named, exported_name
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.schema.targets import Binary, Continuous

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema


def check_columns(schema: Schema) -> None:
    """No column has two roles, except that a `Timestamp` feature may be the schema's timestamp."""
    names = {f.name for f in schema.features}
    for moment in schema.features:
        for part in moment.parts if isinstance(moment, Timestamp) else ():
            if f"{moment.name}.{part}" in names:
                raise ValueError(
                    f"features: '{moment.name}.{part}' is a part of the timestamp '{moment.name}'; rename it"
                )
    outcomes = {t.name for t in schema.targets}
    _check_sources(schema)
    for feature in schema.features:
        if feature.name in outcomes:
            raise ValueError(f"features: '{feature.name}' is also a target; an outcome cannot be an input")
        if not isinstance(feature, Named):
            continue
        if feature.source == schema.time_column and not isinstance(feature, Timestamp):
            raise ValueError(
                f"features: '{feature.name}' is the timestamp; declare it as kind timestamp to use its hour and weekday"
            )
        if feature.source in schema.weights:
            raise ValueError(f"features: '{feature.name}' is also a sample weight")
    if schema.timestamp in outcomes:
        raise ValueError(f"timestamp: '{schema.timestamp}' is also a target")
    for name in schema.weights:
        if name in outcomes or name == schema.timestamp:
            raise ValueError(f"sample_weight: '{name}' is also a target or the timestamp")
    if schema.user is not None and schema.user in (*outcomes, *schema.weights, schema.timestamp):
        raise ValueError(f"user: '{schema.user}' is also a target, a sample weight or the timestamp")
    for feature in schema.features:
        read = {feature.source} if isinstance(feature, Named) else {feature.name}
        if schema.user_source in read and (not isinstance(feature, Categorical) or feature.separator is not None):
            raise ValueError(f"user: '{feature.name}' must be a single-valued categorical feature, or no feature")


def check_quantiles(schema: Schema) -> None:
    """What amounts with quantiles add to the exported model has names of its own there."""
    of_exceedance = tuple(name for names in schema.exceedance_outputs.values() for name in names)
    of_scores = tuple(
        name for t in schema.targets for name in (t.name, *(t.quantile_names if isinstance(t, Continuous) else ()))
    )
    for names in (of_scores, of_exceedance):
        exported: dict[str, str] = {}
        for name in names:
            plain = re.sub(r"[^a-z0-9]", "_", name.lower())
            if plain in exported:
                raise ValueError(
                    f"targets: '{exported[plain]}' and '{name}' would have the same name in the exported model"
                )
            exported[plain] = name
    if schema.with_quantiles and any(feature.name == THRESHOLDS for feature in schema.inputs):
        raise ValueError(
            f"features: '{THRESHOLDS}' is an input of its own where a target has quantiles; give the feature another "
            f"name, with column: {THRESHOLDS}"
        )


def _check_history(feature: History, schema: Schema) -> None:
    """A history statistic is of a value that has rows, and of a target that has its scale."""
    values = [f.name for f in schema.features if isinstance(f, (Categorical, Cross))]
    if feature.of not in values:
        raise ValueError(
            f"statistic '{feature.name}': of must name a categorical feature, a sequence or a cross; "
            f"received '{feature.of}'"
        )
    if isinstance(feature, CountEncoding):
        return
    targets = {t.name: t for t in schema.targets}
    target = targets.get(feature.target)
    if target is None:
        raise ValueError(f"statistic '{feature.name}': no target '{feature.target}'; there are {list(targets)}")
    if feature.scale == "log" and not (isinstance(target, Continuous) and target.non_negative):
        raise ValueError(
            f"statistic '{feature.name}': the log scale is for an amount that is not negative; received '{target.name}'"
        )
    if feature.scheme == "ordered" and schema.timestamp is None:
        raise ValueError(f"statistic '{feature.name}': the scheme 'ordered' needs the schema's timestamp")


def _check_sources(schema: Schema) -> None:
    """What the table calls an outcome, a weight or the time is not read as something else under another name."""
    if schema.delimiter in '\r\n"':
        raise ValueError(f"delimiter: it must be a character that separates fields, received {schema.delimiter!r}")
    outcomes = [target.source for target in schema.targets]
    for name in outcomes:
        if outcomes.count(name) > 1:
            raise ValueError(f"targets: two of them read the column '{name}'")
    taken = dict.fromkeys(outcomes, "a target") | dict.fromkeys(schema.weights, "a sample weight")
    for feature in schema.inputs:
        if feature.column is not None and feature.column in taken:
            raise ValueError(f"features: '{feature.name}' reads the column '{feature.column}', {taken[feature.column]}")
    for target in schema.targets:
        if target.column is not None and target.column in (schema.time_column, schema.user_source, *schema.weights):
            raise ValueError(f"targets: '{target.name}' reads the column '{target.column}', which has another role")
    if schema.timestamp_format is not None:
        if schema.timestamp is None:
            raise ValueError("timestamp_format: it is the format of 'timestamp', which is not declared")
        if any(feature.source == schema.time_column for feature in schema.inputs):
            raise ValueError(f"timestamp_format: '{schema.timestamp}' is a feature; declare its 'format' there")


def check_references(schema: Schema) -> None:
    """What names a feature or a target by name finds one of the right kind."""
    categoricals = {f.name: f for f in schema.categoricals}
    for feature in schema.features:
        if isinstance(feature, Cross):
            for name in feature.of:
                if name not in categoricals or categoricals[name].separator is not None:
                    raise ValueError(f"cross '{feature.name}': '{name}' must be a single-valued categorical feature")
            if feature.of[0] == feature.of[1]:
                raise ValueError(f"cross '{feature.name}' combines '{feature.of[0]}' with itself")
        elif isinstance(feature, (TargetEncoding, CountEncoding)):
            _check_history(feature, schema)
        elif isinstance(feature, Categorical) and feature.shares is not None:
            owner = categoricals.get(feature.shares)
            if owner is None or owner is feature or owner.shares is not None:
                raise ValueError(
                    f"feature '{feature.name}' shares '{feature.shares}', which must be another categorical feature "
                    "that has rows of its own"
                )
    happened: list[str] = []
    for target in schema.targets:
        if target.observed_if is not None and target.observed_if not in happened:
            raise ValueError(
                f"target '{target.name}': observed_if must name an earlier binary target; "
                f"received '{target.observed_if}'"
            )
        earlier = [t.name for t in schema.targets[: schema.targets.index(target)]]
        for name in target.after or ():
            if name not in earlier:
                raise ValueError(f"target '{target.name}': after must name earlier targets; received '{name}'")
        if isinstance(target, Binary):
            happened.append(target.name)


def check_ranking(schema: Schema) -> None:
    """A ranking multiplies predictions that have powers, and what it adds to an exported model has names of its own."""
    ranking = schema.ranking
    if ranking is None:
        return
    owners = {name: target for target in schema.targets for name in target.score_names}
    for name in ranking.weights:
        if name not in owners:
            raise ValueError(f"ranking: no prediction '{name}'; there are {list(owners)}")
    for name, _, floor in ranking.factors:
        target = owners[name]
        if isinstance(target, Continuous) and not target.non_negative and not floor:
            raise ValueError(
                f"ranking: '{name}' may be negative, and a negative number has no powers: give it a floor above 0, "
                f"`floor: {{{name}: ...}}` in its unit, or declare it non_negative"
            )
    # `ranked` gives a position and the score beside the targets, and takes a number beside the columns.
    for name in (*(target.name for target in schema.targets), *owners):
        if exported_name(name) in (SCORE, "index"):
            raise ValueError(
                f"targets: with a ranking, '{name}' is an output of its own: call the target otherwise and let its "
                "`column` say where it stands"
            )
    for feature in schema.inputs:
        if exported_name(feature.name) == "k":
            raise ValueError(
                f"features: with a ranking, 'k' is how many candidates are asked for: call '{feature.name}' otherwise "
                "and let its `column` say where it stands"
            )
