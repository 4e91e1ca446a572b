"""One variant with one seed: trained, judged, and kept as a folder that appears whole or not at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from htlnet_tf.comparison.names import VariantName
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError, NonFiniteError
from htlnet_tf.files import atomic_directory
from htlnet_tf.judging.attention import attention_table
from htlnet_tf.judging.calibration import calibration_table
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.judging.regret import regret
from htlnet_tf.judging.reports import MetricRow, Report
from htlnet_tf.models import HTLNet
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.runs.config import ModelConfig, RunConfig
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.trained import write_histories
from htlnet_tf.runs.training import fit
from htlnet_tf.runs.versions import versions
from htlnet_tf.schema import Schema

_RECORD = "run.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run that is to be made.

    Attributes:
      variant: Its name.
      seed: Of the initial weights, the order of the rows and the noise; of an ensemble of N the first member's is
        seed * N, so that S seeds are S * N independent trainings.
      config: With the variant's model and that seed.
      below: The part of the comparison's folder that it belongs to: `"runs"`, or `"extra"` for one that is in no table.
    """

    variant: str
    seed: int
    config: RunConfig
    below: str = "runs"

    @classmethod
    def of(cls, config: RunConfig, variant: str, model: ModelConfig, seed: int) -> Job:
        """The job of a variant and a seed; the members of ensembles have seeds that no other run of the variant has."""
        name = VariantName.parse(variant)
        members = 1 if name.is_reference else name.ensemble or config.training.ensemble
        training = dataclasses.replace(config.training, seed=seed * members, ensemble=members)
        objective = name.objective or config.objective
        return cls(variant, seed, dataclasses.replace(config, model=model, training=training, objective=objective))

    @property
    def folder(self) -> Path:
        """Where its files go, below the comparison's folder."""
        return Path(self.below) / self.variant / f"seed_{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What else the run depends on, as the plain values that JSON has."""
        settings = {name: dataclasses.asdict(getattr(self.config, name)) for name in ("model", "training")}
        calibration = self.config.calibration
        others = {
            "objective": self.config.objective,
            "calibration": None if calibration is None else dataclasses.asdict(calibration),
        }
        return dict(json.loads(json.dumps(settings | others)))


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What is known of a run that was made.

    Attributes:
      variant: Its name.
      seed: Its seed.
      settings: See `Job.settings`.
      parameters: Trained numbers, embedding rows included; of a reference its leaves or coefficients.
      epochs: Passes over the training rows; a part of a pass counts as such. Of an ensemble, the members' mean; of a
        reference its trees or iterations.
      best_epoch: After how many of them the weights that were judged were taken.
      seconds_per_epoch: Of training alone, without validation and, where there are several parts of passes, without
        the first one, in which the step is traced: the median over the parts; of an ensemble, the members' sum.
      versions: Of Python and the packages that the numbers depend on.
      report: Metrics on the test rows; None if training diverged.
      failure: Why it did, else empty.
      training_seconds: Of training in all, without validation; of a reference, with it. None: made by a version that
        did not tell.
    """

    variant: str
    seed: int
    settings: dict[str, Any]
    parameters: int
    epochs: float
    best_epoch: float
    seconds_per_epoch: float
    versions: dict[str, str]
    report: Report | None
    failure: str = ""
    training_seconds: float | None = None

    def to_json(self) -> str:
        """As a JSON document."""
        document = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps(document | {"report": self.report and self.report.to_dict()}, indent=2, allow_nan=False)

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> RunRecord:
        """Reads a run's folder.

        Raises:
          InputError: The record is damaged.
        """
        path = folder / _RECORD
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            report = document["report"]
            return cls(**document | {"report": None if report is None else Report.from_dict(report, schema)})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"'{path}' is damaged ({error}); remove its folder to have the run made again") from error


def is_done(folder: Path) -> bool:
    """Whether a run's folder is there."""
    return (folder / _RECORD).is_file()


def make_run(job: Job, prepared: Prepared, root: Path, *, write: Write = print) -> RunRecord:
    """Trains and judges one variant with one seed and writes its folder.

    A run that diverges is a result too: it is recorded as such, so that it does not stop the others.

    Args:
      job: What to run.
      prepared: The rows.
      root: The comparison's folder.
      write: Where progress lines go.
    """
    tf.keras.backend.clear_session()  # of the runs before, whose graphs would pile up
    about: dict[str, Any] = {"variant": job.variant, "seed": job.seed, "settings": job.settings, "versions": versions()}
    try:
        run = fit(job.config, prepared, label=f"{job.variant}, seed {job.seed}, ", write=write)
    except NonFiniteError as error:
        record = RunRecord(
            **about, parameters=0, epochs=0.0, best_epoch=0.0, seconds_per_epoch=0.0, report=None, failure=str(error)
        )
        with atomic_directory(root / job.folder) as stage:
            _write(record, job, stage)
        return record
    per_epoch = job.config.training.validations_per_epoch
    record = RunRecord(
        **about,
        parameters=sum(int(np.prod(w.shape)) for w in run.model.trainable_variables),
        epochs=float(np.mean([len(member.seconds) for member in run.trained])) / per_epoch,
        best_epoch=float(np.mean([member.best_check for member in run.trained])) / per_epoch,
        seconds_per_epoch=sum(float(np.median(m.seconds[1:] or m.seconds)) for m in run.trained) * per_epoch,
        report=with_regret(run.report, run.scored, prepared),
        training_seconds=float(sum(np.sum(member.seconds) for member in run.trained)),
    )
    schema, scored = prepared.schema, run.scored
    with atomic_directory(root / job.folder) as stage:
        _write(record, job, stage)
        write_histories(run.trained, stage, index="check")
        calibration_table(schema, scored.labels, scored.predictions).to_csv(stage / "calibration.csv", index=False)
        attention = _attention(run.model, prepared.test)
        if attention is not None:
            attention.to_csv(stage / "attention.csv", index=False)
    return record


def write_record(record: RunRecord, folder: Path) -> None:
    """Writes a run's record into its folder."""
    (folder / _RECORD).write_text(record.to_json(), encoding="utf-8")


def _write(record: RunRecord, job: Job, stage: Path) -> None:
    write_record(record, stage)
    # What `htlnet train` needs to make the same run, with its weights.
    (stage / "config.yaml").write_text(job.config.to_yaml(), encoding="utf-8")


def with_regret(report: Report, scored: Scored, prepared: Prepared) -> Report:
    """A report with the regret of each target, where the truth is known."""
    if prepared.truth is None:
        return report
    schema = prepared.schema
    lost = regret(schema, scored.labels, prepared.truth, scored.predictions)
    rows = [MetricRow(t.name, t.kind, "regret", lost[t.name]) for t in schema.targets]
    return dataclasses.replace(report, rows=(*report.rows, *rows))


def _attention(model: ScoringModel, rows: Rows) -> pd.DataFrame | None:
    """The attention weights of HTLNet on the rows; None if the model has none, as an ensemble has."""
    if not isinstance(model, HTLNet):
        return None
    parts = [model.encoder.encode(frame) for frame in ([rows] if isinstance(rows, pd.DataFrame) else rows)]
    table = attention_table(model, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    return None if table.empty else table
