"""Whether later rows still look like a model's own: features, predictions and labels against thresholds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.data.users import read_users
from htlnet_tf.documents import without_nan
from htlnet_tf.encoding.coverage import Coverage
from htlnet_tf.judging.drift import Shift, shifts
from htlnet_tf.judging.drift_settings import DriftSettings
from htlnet_tf.judging.exact_metrics import user_codes
from htlnet_tf.judging.target_drift import Measured, OutputDrift, output_drifts
from htlnet_tf.text_tables import aligned

if TYPE_CHECKING:
    from htlnet_tf.models.scoring_model import ScoringModel
    from htlnet_tf.schema import Schema


@dataclasses.dataclass(frozen=True)
class Beyond:
    """A threshold that was passed.

    Attributes:
      of: The feature, or the column of predictions.
      what: The setting of `DriftSettings` that is passed.
      value: What was found: a distance from where it should be.
      limit: The threshold.
      chance: What chance alone adds in so many rows.
    """

    of: str
    what: str
    value: float
    limit: float
    chance: float

    @property
    def severity(self) -> float:
        """How many times the threshold, without what chance may have added."""
        return (self.value - self.chance) / self.limit

    def __str__(self) -> str:
        return (
            f"{self.of}: {_WORDS[self.what]} {self.value:.4g}, allowed {self.limit:g} and by chance {self.chance:.2g}"
        )


class FeatureDrift(NamedTuple):
    """One feature.

    Attributes:
      psi: Population stability of its known values.
      unknown_before: The share of its values out of vocabulary in the reference rows; NaN without a vocabulary.
      unknown: The same of the later rows.
      unknown_chance: What chance makes of the difference.
    """

    psi: Shift
    unknown_before: float
    unknown: float
    unknown_chance: float


@dataclasses.dataclass(frozen=True)
class DriftReport:
    """Later rows against those of the training.

    Attributes:
      rows: How many later rows were looked at.
      reference_rows: How many of the training's.
      features: By feature.
      outputs: By column of predictions.
      beyond: The thresholds that are passed, the worst first.
    """

    rows: int
    reference_rows: int
    features: Mapping[str, FeatureDrift]
    outputs: Mapping[str, OutputDrift]
    beyond: tuple[Beyond, ...]

    @property
    def ok(self) -> bool:
        """Whether no threshold is passed."""
        return not self.beyond

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is None."""
        document: dict[str, Any] = without_nan(
            {
                "ok": self.ok,
                "worst": dataclasses.asdict(self.beyond[0]) if self.beyond else None,
                "beyond": [dataclasses.asdict(one) for one in self.beyond],
                "rows": self.rows,
                "reference_rows": self.reference_rows,
                "features": {
                    name: {"psi": f.psi.psi, "unknown_before": f.unknown_before, "unknown": f.unknown}
                    for name, f in self.features.items()
                },
                "outputs": {name: _plain(output) for name, output in self.outputs.items()},
            }
        )
        return document

    def to_text(self) -> str:
        """Two tables for people, features with the largest index first, and what is beyond."""
        features = [["feature", "PSI", "unknown before", "unknown"]]
        for name, f in sorted(self.features.items(), key=lambda item: -np.nan_to_num(item[1].psi.psi)):
            features.append([name, _number(f.psi.psi), _share(f.unknown_before), _share(f.unknown)])
        header = ["prediction", "PSI", "mean before", "mean", "labels", "rate before", "rate", "level", "calibration"]
        outputs = [header]
        for name, o in self.outputs.items():
            predicted = [_number(value) for value in (o.psi.value, o.mean_before, o.mean)]
            judged = (o.rate_before, o.rate, o.level.value, o.calibration_error.value)
            outputs.append([name, *predicted, f"{o.labels:,}", *map(_number, judged)])
        blocks = [
            f"{self.rows:,} rows against {self.reference_rows:,} of the training",
            aligned(features),
            aligned(outputs),
        ]
        if self.ok:
            return "\n\n".join([*blocks, "no drift beyond the thresholds"])
        lines = [f"BEYOND THE THRESHOLDS: {len(self.beyond)}, the worst: {self.beyond[0]}"]
        return "\n\n".join([*blocks, "\n".join([*lines, *(f"  {one}" for one in self.beyond[1:])])])


def drift_report(
    model: ScoringModel,
    reference: tuple[pd.DataFrame | None, pd.DataFrame],
    rows: pd.DataFrame,
    settings: DriftSettings | None = None,
) -> DriftReport:
    """Compares later rows with those of a model's training.

    Features are compared with training and validation rows, but history statistics with validation rows alone: a
    training row's own label is in them. Predictions and unknown shares are compared with those of the validation rows,
    which the weights were not fitted on.

    Args:
      model: The trained model.
      reference: Raw training rows, None if there are none, and raw validation rows.
      rows: Raw later rows, N > 0; a label that is missing counts for nothing.
      settings: The thresholds.

    Raises:
      InputError: A column is missing or holds a value that it must not; names column, row and value.
    """
    from htlnet_tf.scoring.prediction import predict_encoded

    settings = settings or DriftSettings()
    train, valid = reference
    encoder = model.encoder
    later, of_valid = encoder.encode(rows), encoder.encode(valid)
    of_train = None if train is None else encoder.encode(train)
    both = of_valid if of_train is None else {k: np.concatenate([of_train[k], of_valid[k]]) for k in of_valid}
    history = {feature.name for feature in encoder.schema.history}
    moved, moved_history = shifts(encoder, both, later), shifts(encoder, of_valid, later) if history else {}
    unknown_before, unknown = (Coverage(encoder) for _ in range(2))
    unknown_before.add(of_valid["ids"])
    unknown.add(later["ids"])
    of_users = {f.name for f in encoder.schema.features if getattr(f, "group", None) == "user"}
    factor = _fewer(model.schema, [rows], [valid] if train is None else [train, valid]) if of_users else 1.0
    features = {}
    for name, shift in moved.items():
        found_shift = moved_history[name] if name in history else shift
        if name in of_users:
            found_shift = found_shift._replace(chance=found_shift.chance * factor)
        features[name] = FeatureDrift(found_shift, *_unknown(name, unknown_before, unknown))
    outputs = output_drifts(
        model.schema,
        (valid, predict_encoded(model, of_valid, valid.index)),
        (rows, predict_encoded(model, later, rows.index)),
    )
    found = [*_beyond_of_features(features, settings), *_beyond_of_outputs(outputs, settings)]
    beyond = [one for one in found if one.value > one.limit + one.chance]
    beyond.sort(key=lambda one: -one.severity)
    reference_rows = len(valid) + (0 if train is None else len(train))
    return DriftReport(len(rows), reference_rows, features, outputs, tuple(beyond))


def _fewer(schema: Schema, *samples: list[pd.DataFrame]) -> float:
    """How many times more chance makes of what a user's rows have in common than of what each row has for itself.

    Rows of which some are equal count as (sum of n_u)^2 / sum of n_u^2 rows, with n_u those of a user (Kish, "Survey
    Sampling", 1965).
    """
    rows, effective = 0.0, 0.0
    for sample in samples:
        users = [read_users(frame, schema) for frame in sample]
        known = [part for part in users if part is not None]
        if not known:
            return 1.0
        codes = user_codes(pd.concat(known))
        alone = np.ones(np.count_nonzero(codes < 0))  # rows without a user
        counts = np.concatenate([np.bincount(codes[codes >= 0]), alone])
        total = float(counts.sum())
        rows, effective = rows + 1 / total, effective + float((counts**2).sum()) / total**2
    return effective / rows


def _unknown(name: str, before: Coverage, after: Coverage) -> tuple[float, float, float]:
    """The shares before and after, and three standard deviations of their difference."""
    (few, of_few), (some, of_some) = (coverage.counts().get(name, (0, 0)) for coverage in (before, after))
    if not of_few or not of_some:
        return math.nan, math.nan, math.nan
    p, q = few / of_few, some / of_some
    return p, q, 3 * math.sqrt(p * (1 - p) / of_few + q * (1 - q) / of_some)


def _beyond_of_features(features: Mapping[str, FeatureDrift], settings: DriftSettings) -> Iterator[Beyond]:
    for name, feature in features.items():
        yield Beyond(name, "psi", feature.psi.psi, settings.psi, feature.psi.chance)
        more = feature.unknown - feature.unknown_before
        yield Beyond(name, "unknown_share", more, settings.unknown_share, feature.unknown_chance)


def _beyond_of_outputs(outputs: Mapping[str, OutputDrift], settings: DriftSettings) -> Iterator[Beyond]:
    for name, output in outputs.items():
        if not output.labels:
            yield Beyond(name, "score_psi", output.psi.value, settings.score_psi, output.psi.chance)
        for what, distance, chance in (
            ("rate", abs(output.rate_change.value), output.rate_change.chance),
            ("level", abs(output.level.value - 1), output.level.chance),
            ("calibration_error", output.calibration_error.value, output.calibration_error.chance),
        ):
            yield Beyond(name, what, distance, getattr(settings, what), chance)


def _plain(output: OutputDrift) -> dict[str, Any]:
    return {key: value.value if isinstance(value, Measured) else value for key, value in output._asdict().items()}


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.4g}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


_WORDS = {
    "psi": "population stability index",
    "unknown_share": "more unknown values, a share of",
    "score_psi": "population stability index of the predictions",
    "rate": "mean label changed by a share of",
    "level": "predicted over actual is off 1 by",
    "calibration_error": "calibration error as a share of the mean label",
}
