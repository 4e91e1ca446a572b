"""Does a running server give the scores that the run gives offline? Asked of a release, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.sources.source import open_source
from htlnet_tf.errors import InputError, VerificationError
from htlnet_tf.files import local_path
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.runs.folder import load_held_out, load_model
from htlnet_tf.schema import Continuous, Schema
from htlnet_tf.schema.ranking import SCORE
from htlnet_tf.scoring.prediction import predict
from htlnet_tf.scoring.ranking import scale_of_score
from htlnet_tf.scoring.scores import quantile_bounds
from htlnet_tf.serving.clients.opening import open_client
from htlnet_tf.text_tables import aligned

TOLERANCE = 1e-5
_ROWS_PER_REQUEST = 1000


@dataclass(frozen=True)
class ScoreParity:
    """One column of scores, online and offline, where they differ most.

    Args:
      name: Of the target, `{target}_{k}` for class k of a multiclass target, `{target}_p10` for a quantile, `score` of
        a ranking.
      difference: The largest: absolute for probabilities, in standard deviations of the training rows for an amount
        (of one that is larger than that, relative to it), relative for a ranking's score (see
        `htlnet_tf.scoring.power_product.score_scale`). NaN if one of the two is not a number.
      file: Where the row stands.
      row: Its number there; the first row after the header is 0.
      online: Its score from the server.
      offline: Its score from the run.
      unit: Of the difference: `"absolute"`, `"standard deviations of the training rows"` for the core, `"relative"` for
        the score.
    """

    name: str
    difference: float
    file: str
    row: Any
    online: float
    offline: float
    unit: str = "absolute"


@dataclass(frozen=True)
class ParityReport:
    """Online answers against offline predictions.

    Args:
      server: URL.
      rows: How many were compared.
      tolerance: What counts as equal.
      scores: One entry per column of scores, in funnel order.
    """

    server: str
    rows: int
    tolerance: float
    scores: tuple[ScoreParity, ...]

    @property
    def ok(self) -> bool:
        """Whether every score is within the tolerance."""
        return all(score.difference <= self.tolerance for score in self.scores)  # False for NaN

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "server": self.server,
            "rows": self.rows,
            "tolerance": self.tolerance,
            "ok": self.ok,
            "scores": [
                {
                    key: None if isinstance(value, float) and not np.isfinite(value) else value
                    for key, value in vars(score).items()
                }
                for score in self.scores
            ],
        }

    def to_text(self) -> str:
        """The report for people: one line per score, with the unit of its difference."""
        lines = [f"{self.rows:,} rows, online ({self.server}) against offline; tolerance {self.tolerance:g}"]
        found = [
            f"largest difference {score.difference:.2e} ({score.unit})"
            f"{'' if score.difference <= self.tolerance else ' TOO LARGE'}"
            f" at row {score.row} of {score.file}: {score.online:.9g} online, {score.offline:.9g} offline"
            for score in self.scores
        ]
        names = [score.name for score in self.scores]
        lines.append(aligned(list(zip(names, found, strict=True)), left=(0, 1), rule=False))
        return "\n".join([*lines, "equal" if self.ok else "NOT EQUAL: another model, version or encoding is served"])


def check_parity(
    url: str,
    path: str | Path | None,
    run_directory: str | Path,
    *,
    model_name: str = "htlnet",
    version: int | None = None,
    label: str | None = None,
    tolerance: float = TOLERANCE,
    limit: int | None = None,
) -> ParityReport:
    """Compares a server's answers with a run's own predictions on the rows of a file.

    The rows go out as the raw columns that the run's encoder reads, so that a missing value is the same code on both
    sides. Labels need not be there.

    Args:
      url: Of the server: `http://localhost:8501`, or `grpc://localhost:8500`.
      path: A file, folder or glob of CSV, Parquet or TFRecord files; None: the run's held-out rows.
      run_directory: The run folder.
      model_name: The model's name on the server.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask; None for none.
      tolerance: The largest difference that counts as equal, as `ScoreParity.difference` has it.
      limit: Compare so many rows, the first; None: all.

    Returns:
      The report.

    Raises:
      InputError: The run or a file cannot be read, or there are no rows.
      ServingError: The server cannot be reached or refuses a request.
      VerificationError: The server's model takes other columns, or has other outputs, than the run's.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1, received {limit}")
    if not tolerance >= 0:
        raise InputError(f"the tolerance must not be negative, received {tolerance}")
    _, model = load_model(run_directory)
    schema = model.schema  # whose targets may say more than those that the encoder was fitted for
    names = list(schema.score_columns)
    worst: dict[str, ScoreParity] = {}
    compared = 0
    with open_client(url, model_name, version=version, label=label) as client:
        for file, frame in _frames(path, run_directory, schema):
            rows = frame if limit is None else frame.head(limit - compared)
            if rows.empty:
                break
            columns = dict(raw_features(rows, schema))
            try:
                online = client.predict(columns)
            except InputError as error:  # the run's own model takes these columns
                raise VerificationError(
                    f"the server's model takes other columns than the run's: {error}; is another model served?"
                ) from error
            if set(online.columns) != set(names):
                raise VerificationError(f"outputs {sorted(online.columns)} where {sorted(names)} were expected")
            for found in _largest(model, online, predict(model, rows), _bounds(model, rows), file):
                if found.name not in worst or _size(found) > _size(worst[found.name]):
                    worst[found.name] = found
            compared += len(rows)
    if not compared:
        raise InputError(f"'{path}' has no rows")
    return ParityReport(url, compared, tolerance, tuple(worst[name] for name in names))


def _size(score: ScoreParity) -> float:
    return np.inf if np.isnan(score.difference) else score.difference


def _frames(path: str | Path | None, run: str | Path, schema: Schema) -> Iterator[tuple[str, pd.DataFrame]]:
    if path is None:
        rows = load_held_out(run)
        for start in range(0, len(rows), _ROWS_PER_REQUEST):
            yield str(local_path(run) / "held_out.parquet"), rows.iloc[start : start + _ROWS_PER_REQUEST]
        return
    names = list(dict.fromkeys(feature.source for feature in schema.inputs))
    for chunk in open_source(path, delimiter=schema.delimiter).chunks(
        names, schema=schema, chunk_rows=_ROWS_PER_REQUEST
    ):
        yield chunk.file, chunk.frame


def _bounds(model: ScoringModel, rows: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Between which a quantile counts as equal: those at levels that differ by what probabilities may differ by."""
    if not model.schema.with_quantiles:
        return {}
    features = {key: tf.constant(values) for key, values in model.encoder.encode(rows).items()}
    bounds = quantile_bounds(model, features, TOLERANCE)
    return {
        name: (low.numpy().astype(np.float64), high.numpy().astype(np.float64)) for name, (low, high) in bounds.items()
    }


def _largest(
    model: ScoringModel,
    online: pd.DataFrame,
    offline: pd.DataFrame,
    bounds: Mapping[str, tuple[np.ndarray, np.ndarray]],
    file: str,
) -> Iterator[ScoreParity]:
    for target in model.schema.targets:
        amount = model.encoder.statistics.labels.get(target.name)
        scale = 1.0 if amount is None else max(amount.std, float(np.finfo(np.float32).tiny))
        unit = "standard deviations of the training rows" if amount is not None else "absolute"
        quantiles = target.quantile_names if isinstance(target, Continuous) else ()
        for name in (*target.score_names, *quantiles):
            yield _where_largest(name, online[name], offline[name], scale, unit, file, bounds.get(name))
    if model.schema.ranking is not None:
        relative = scale_of_score(model, offline, TOLERANCE)
        yield _where_largest(SCORE, online[SCORE], offline[SCORE], relative, "relative", file)


def _where_largest(
    name: str,
    online: pd.Series,
    offline: pd.Series,
    scale: float | np.ndarray,
    unit: str,
    file: str,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
) -> ScoreParity:
    served, own = online.to_numpy(np.float64), offline.to_numpy(np.float64)
    # Of an amount beyond its deviation float32 rounds relative to its size, as when an export is verified.
    size = np.maximum(np.abs(own), scale)
    difference = np.abs(served - (own if bounds is None else np.clip(served, *bounds))) / size
    at = int(np.argmax(difference))  # NumPy takes NaN for the largest
    row = offline.index[at]
    row = row.item() if isinstance(row, np.generic) else row
    return ScoreParity(name, float(difference[at]), file, row, float(served[at]), float(own[at]), unit)
