"""What was fitted: from a model's predictions to those that leave it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from pydantic import TypeAdapter

from htlnet_tf.documents import faults
from htlnet_tf.errors import InputError
from htlnet_tf.objectives.lazy_tensorflow import tf
from htlnet_tf.scoring.calibration.curve import Curve, logit
from htlnet_tf.scoring.calibration.settings import CalibrationSettings

IdsOfField = Callable[[str], "tf.Tensor"]
"""From an embedded field's name to its row numbers, int32 [B, slots]."""


@dataclasses.dataclass(frozen=True)
class Group:
    """The column by whose values one calibrates.

    Attributes:
      field: Its embedded field.
      start: The row number of its first value (which stands for unknown ones, and the next for missing ones).
      size: Values.
    """

    field: str
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class TargetCalibration:
    """Of one target.

    Attributes:
      method: Its name.
      curves: One, or one per class of a multiclass target.
      by_group: Per value of the group that has one, by its position: a shift of the logits of a probability, a factor
        of an amount.
      is_amount: Whether the target is one.
    """

    method: str
    curves: tuple[Curve, ...]
    by_group: Mapping[int, float] = dataclasses.field(default_factory=dict)
    is_amount: bool = False

    def __call__(self, predictions: tf.Tensor, group: tf.Tensor | None, size: int) -> tf.Tensor:
        """Calibrated predictions, [B] or [B, K].

        Args:
          predictions: [B] or [B, K].
          group: Position of each row's value, int32 [B]; None: there is no group.
          size: Values of the group.
        """
        if len(self.curves) > 1:
            curves = [curve(predictions[:, k]) for k, curve in enumerate(self.curves)]
            each = tf.stack(curves, axis=1)
            return each / tf.maximum(tf.reduce_sum(each, axis=1, keepdims=True), 1e-30)
        found = self.curves[0](predictions)
        if group is None or not self.by_group:
            return found
        table = np.full(size, 1.0 if self.is_amount else 0.0, np.float32)
        table[list(self.by_group)] = list(self.by_group.values())
        moved = tf.gather(table, group)
        return found * moved if self.is_amount else tf.sigmoid(logit(found) + moved)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A model's calibration: part of its run folder and of every signature of its servable.

    Within a value of the group each prediction rises with the model's, so that AUC stays but for ties; not so the
    targets behind a step whose negatives were sampled, and the classes of a multiclass target.

    Attributes:
      settings: How it was fitted.
      targets: By target name; those that are not named leave as they are.
      group: None: there is none.
      rows: On how many rows it was fitted.
      after_sampling: The step whose negatives were sampled, and the targets behind it whose predictions it divides.
      levels: By target, from a nominal level of its distribution to the model's own, see
        `htlnet_tf.schema.Continuous`, `conformal`.

    Example:
      >>> htl.calibrate(model, valid, steps="isotonic")
      >>> htl.predict(model, rows)
    """

    settings: CalibrationSettings
    targets: Mapping[str, TargetCalibration]
    group: Group | None = None
    rows: int = 0
    after_sampling: tuple[str, ...] = ()
    levels: Mapping[str, Curve] = dataclasses.field(default_factory=dict)

    def __call__(self, predictions: Mapping[str, tf.Tensor], ids: IdsOfField) -> dict[str, tf.Tensor]:
        """Calibrated predictions.

        Args:
          predictions: By target, [B] or [B, K].
          ids: From the name of an embedded field to its row numbers, int32 [B, slots].

        Returns:
          As `predictions`.
        """
        group, size = None, 0
        if self.group is not None:
            size = self.group.size
            group = ids(self.group.field)[:, 0] - self.group.start
        found = dict(predictions)
        for name in predictions:
            if name in self.targets:
                found[name] = self.targets[name](predictions[name], group, size)
        for name, kept in self.settings.kept_negatives.items():
            if name in found:
                # Of P(y = 1) and P(y = 0) / kept, the share of the former.
                odds = found[name] + (1.0 - found[name]) / kept
                found |= {target: found[target] / odds for target in self.after_sampling if target in found}
        return found

    @property
    def changed(self) -> frozenset[str]:
        """The targets whose predictions may be others than the model's."""
        return frozenset((*self.targets, *self.after_sampling))

    def save(self, path: Path) -> None:
        """Writes it as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self) | {
            "targets": {
                name: dataclasses.asdict(of) | {"by_group": {str(at): value for at, value in of.by_group.items()}}
                for name, of in self.targets.items()
            }
        }

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Reads what `save` wrote.

        Raises:
          InputError: The file is damaged.
        """
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = faults(error) if isinstance(error, pydantic.ValidationError) else error
            raise InputError(f"cannot read '{path}': {reason}") from error

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Calibration:
        """What `to_dict` gave."""
        targets = {
            name: TargetCalibration(
                of["method"],
                tuple(Curve.from_dict(curve) for curve in of["curves"]),
                {int(at): float(value) for at, value in of["by_group"].items()},
                of["is_amount"],
            )
            for name, of in document["targets"].items()
        }
        group = document["group"]
        return cls(
            _SETTINGS.validate_python(document["settings"]),
            targets,
            None if group is None else Group(**group),
            document["rows"],
            tuple(document["after_sampling"]),
            {name: Curve.from_dict(curve) for name, curve in document["levels"].items()},
        )


_SETTINGS: TypeAdapter[CalibrationSettings] = TypeAdapter(CalibrationSettings)
