"""Fits a calibration to rows that were not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import pandas as pd
import pydantic
import tensorflow as tf

from htlnet_tf.documents import faults
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_frame
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.observed import Observed
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Schema
from htlnet_tf.schema.targets import Target
from htlnet_tf.scoring.calibration.calibration import Calibration, Group, TargetCalibration
from htlnet_tf.scoring.calibration.curve import Curve
from htlnet_tf.scoring.calibration.groups import level_factors, logit_shifts, logits_of
from htlnet_tf.scoring.calibration.method import require_enough
from htlnet_tf.scoring.calibration.sample import Predict, Sample, encoded_parts, model_predictions, samples_of
from htlnet_tf.scoring.calibration.settings import METHODS, CalibrationSettings
from htlnet_tf.scoring.conformal import conformal_levels

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel


def calibrate(
    model: ScoringModel,
    rows: Union[Rows, EncodedRows],
    settings: CalibrationSettings | None = None,
    **changes: Any,
) -> Calibration:
    """Calibrates a trained model on rows that it was not trained on, usually the validation part.

    From then on `htlnet_tf.predict` and `evaluate`, run folders, exports and parity have the calibrated predictions.
    Keras' own methods do not, and `fit` drops a calibration, which is of the weights before. The levels of quantiles
    that are declared `conformal` are corrected behind it, on the same rows, see `htlnet_tf.scoring.conformal`.

    Args:
      model: A trained model or ensemble; its `calibration` is set.
      rows: A frame or stream with features and targets, or rows that the model's encoder has encoded. The schema's
        sample weights count.
      settings: How; None: `CalibrationSettings()`.
      **changes: Fields of the settings in their place, `steps="isotonic"`.

    Returns:
      The calibration.

    Raises:
      InputError: A setting is not known or does not fit the schema, the rows are too few, or as for `evaluate`.
    """
    try:
        chosen = settings if settings is not None and not changes else _changed(settings, changes)
    except pydantic.ValidationError as error:
        raise InputError(f"calibration: {faults(error)}") from error
    if isinstance(rows, pd.DataFrame):
        rows = encode_frame(rows, model.encoder)  # once, though it may be gone through twice
    parts = encoded_parts(rows, model.encoder)
    found = fit_calibration(chosen, model.schema, model.encoder, model_predictions(model), parts)
    before, model.calibration = model.calibration, found
    try:
        levels = conformal_levels(model, encoded_parts(rows, model.encoder))
    except InputError:
        model.calibration = before
        raise
    if levels:
        model.calibration = found = dataclasses.replace(found, levels=levels)
    return found


def _changed(settings: CalibrationSettings | None, changes: Mapping[str, Any]) -> CalibrationSettings:
    return CalibrationSettings(**({} if settings is None else vars(settings)) | dict(changes))


def fit_calibration(
    settings: CalibrationSettings,
    schema: Schema,
    encoder: FeatureEncoder,
    predict: Predict,
    parts: Iterable[EncodedRows],
) -> Calibration:
    """Fits a calibration to any predictions.

    Args:
      settings: How.
      schema: Declares the targets.
      encoder: Encoded the rows.
      predict: From encoded features to predictions by target; those that it gives are calibrated.
      parts: Encoded rows, in parts.

    Raises:
      InputError: As for `calibrate`.
    """
    require_settings(settings, schema, encoder)
    group = _group(settings, schema, encoder)
    column = None if group is None else encoder.slots_of(group.field).start
    samples = samples_of(predict, schema, _after_the_step(settings, schema, parts), column)
    targets = {
        target.name: _of_target(settings, target, samples[target.name], group)
        for target in schema.targets
        if target.name in samples and _method(settings, target) != "none"
    }
    sampled = tuple(name for name in _after_sampling(settings, schema) if name in samples)
    rows = max(len(sample.labels) for sample in samples.values())
    return Calibration(settings, targets, group, rows, sampled)


def require_rows(settings: CalibrationSettings, schema: Schema, encoder: FeatureEncoder, rows: EncodedRows) -> None:
    """Checks, before anything is trained, that rows will do for a calibration.

    Raises:
      InputError: They will not, or a setting does not fit the schema.
    """
    require_settings(settings, schema, encoder)
    for _ in _after_the_step(settings, schema, [rows]):
        pass
    for target in schema.targets:
        name = _method(settings, target)
        if name != "none":
            labels = Observed.of(rows, target).labels
            for of_class in range(target.num_classes) if isinstance(target, Multiclass) else [None]:
                happened = labels if of_class is None else labels == of_class
                probability = not isinstance(target, Continuous)
                require_enough(target.name, name, METHODS[name], happened, probability=probability)


def require_settings(settings: CalibrationSettings, schema: Schema, encoder: FeatureEncoder) -> None:
    """Checks that settings fit a schema, which needs no rows.

    Raises:
      InputError: One does not.
    """
    _group(settings, schema, encoder)
    _after_sampling(settings, schema)
    for target in schema.amounts:
        if settings.core == "level" and not target.non_negative:
            raise InputError(
                f"calibration: '{target.name}' may be negative, so that its total has no level; take core: isotonic, "
                "or none"
            )


def _method(settings: CalibrationSettings, target: Target) -> str:
    return settings.core if isinstance(target, Continuous) else settings.steps


def _of_target(settings: CalibrationSettings, target: Target, sample: Sample, group: Group | None) -> TargetCalibration:
    name = _method(settings, target)
    method = METHODS[name]
    is_amount = isinstance(target, Continuous)
    positive = isinstance(target, Continuous) and target.non_negative

    def curve_of(part: Sample) -> Curve:
        require_enough(target.name, name, method, part.labels, probability=not is_amount)
        return method.fit(part, probability=not is_amount, non_negative=positive)

    if isinstance(target, Multiclass):
        return TargetCalibration(name, tuple(curve_of(sample.of_class(k)) for k in range(target.num_classes)))
    curve = curve_of(sample)
    if group is None or (is_amount and not positive):
        return TargetCalibration(name, (curve,), is_amount=is_amount)
    fitted = sample.with_predictions(curve(tf.constant(sample.predictions, tf.float32)).numpy())
    at = sample.groups - group.start
    find = level_factors if is_amount else logit_shifts
    given = fitted.predictions if is_amount else logits_of(fitted.predictions)
    moved = find(given, sample.labels, sample.weights, at, prior_rows=settings.shrinkage)
    seen = np.unique(at).tolist()
    return TargetCalibration(name, (curve,), {i: float(moved[i]) for i in seen}, is_amount)


def _group(settings: CalibrationSettings, schema: Schema, encoder: FeatureEncoder) -> Group | None:
    if settings.by is None:
        return None
    feature = schema.feature(settings.by)
    if not isinstance(feature, Categorical) or feature.separator is not None:
        raise InputError(f"calibration: by must name a categorical feature without lists; '{settings.by}' is none")
    block = encoder.blocks[feature.name]
    return Group(feature.name, block.start, block.end - block.start)


def _after_sampling(settings: CalibrationSettings, schema: Schema) -> tuple[str, ...]:
    """The step whose negatives were sampled, and the later targets that its probability corrects."""
    for name in settings.kept_negatives:
        step = schema.target(name)
        if not isinstance(step, Binary) or step.observed_if is not None:
            raise InputError(f"calibration: kept_negatives names a binary target of all rows; '{name}' is none")
        position = schema.targets.index(step)
        later = [t for t in schema.targets[position + 1 :] if name not in _conditions(schema, t)]
        for target in later:
            if isinstance(target, Multiclass) or (isinstance(target, Continuous) and not target.non_negative):
                raise InputError(
                    f"calibration: kept_negatives of '{name}' cannot correct '{target.name}', which is no step and no "
                    "amount that is 0 where it did not happen; declare it observed_if, or weigh the rows instead "
                    "(sample_weight)"
                )
            if isinstance(target, Continuous) and target.quantiles:
                raise InputError(
                    f"calibration: kept_negatives of '{name}' corrects the expectation of '{target.name}', not its "
                    "distribution: leave out its quantiles, or weigh the rows instead (sample_weight)"
                )
        return (name, *(t.name for t in later))
    return ()


def _after_the_step(
    settings: CalibrationSettings, schema: Schema, parts: Iterable[EncodedRows]
) -> Iterator[EncodedRows]:
    """The parts, in which the targets behind a step whose negatives were sampled are 0 where it did not happen."""
    later = {name: schema.targets[schema.targets.index(schema.target(name)) + 1 :] for name in settings.kept_negatives}
    start = 0
    for part in parts:
        for name, targets in later.items():
            step = np.zeros(len(part), np.float64)
            rows, labels, _ = Observed.of(part, schema.target(name))
            step[rows] = labels
            for target in targets:
                rows, labels, _ = Observed.of(part, target)
                wrong = rows[(labels != 0) & (step[rows] == 0)]
                if len(wrong):
                    raise InputError(
                        f"calibration: kept_negatives of '{name}' needs '{target.name}' to be 0 wherever '{name}' did "
                        f"not happen; at row {start + int(wrong[0])} it is not: weigh the rows instead (sample_weight)"
                    )
        start += len(part)
        yield part


def _conditions(schema: Schema, target: Target) -> list[str]:
    found: list[str] = []
    while target.observed_if is not None:
        found.append(target.observed_if)
        target = schema.target(target.observed_if)
    return found
