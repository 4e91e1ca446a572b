"""What the page of a run tells, computed where the rows and the model are at hand."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone

import numpy as np
import pandas as pd

from htlnet_tf.data.sampling import sampled
from htlnet_tf.encoding.encoded import EncodedRows, Rows
from htlnet_tf.judging.calibration import calibration_table
from htlnet_tf.judging.drift import drift
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.judging.gains import gains_table
from htlnet_tf.judging.importance import importance_table
from htlnet_tf.judging.references.constants import training_means, trivial_reports
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.page.facts import Member, RunFacts, bins_of, gains_of, importance_of
from htlnet_tf.runs.folder import Run
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.versions import versions

IMPORTANCE_ROWS = 4000
"""Test rows that importance is measured on: some seconds, for 43 columns a quarter of a minute."""

_DRIFT_ROWS = 100_000


def run_facts(
    run: Run,
    prepared: Prepared,
    *,
    command: str | None = None,
    importance_rows: int | None = None,
    write: Write = print,
) -> RunFacts:
    """The facts of a run that was just trained.

    Args:
      run: The trained model, judged.
      prepared: The rows that it was trained on.
      command: The command line; None: there was none.
      importance_rows: Test rows that permutation importance is measured on; 0: it is left out. None: `IMPORTANCE_ROWS`.
      write: Where progress lines go.
    """
    schema, scored, train = prepared.schema, run.scored, prepared.train
    trivial = {}
    shift: dict[str, float] = {}
    if isinstance(train, EncodedRows):  # of a stream they would have to be read once more
        means = training_means(schema, train.labels, train.weights)
        trivial = trivial_reports(schema, means, scored.labels, scored.users)
        test = sampled(prepared.test, schema, _DRIFT_ROWS)
        shift = drift(prepared.encoder, _sampled_arrays(train), prepared.encoder.encode(test))
    facts = RunFacts(
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        versions=versions(),
        model=run.model.title,
        parameters=sum(int(np.prod(w.shape)) for w in run.model.trainable_variables),
        rows=dict(prepared.sizes),
        members=tuple(Member(m.seed, m.best_check, len(m.seconds), float(np.sum(m.seconds))) for m in run.trained),
        trivial={name: report.to_dict() for name, report in trivial.items()},
        drift=dict(shift),
    )
    return with_test_rows(facts, run.model, prepared.test, scored, importance_rows=importance_rows, write=write)


def with_test_rows(
    facts: RunFacts,
    model: ScoringModel,
    rows: Rows,
    scored: Scored,
    *,
    importance_rows: int | None = None,
    write: Write = print,
) -> RunFacts:
    """Facts with what test rows tell: calibration, gains, importance.

    Args:
      facts: What else is known.
      model: The trained model.
      rows: The test rows.
      scored: The same with the model's predictions.
      importance_rows: As for `run_facts`.
      write: Where progress lines go.
    """
    schema = model.schema
    importance_rows = IMPORTANCE_ROWS if importance_rows is None else importance_rows
    importance: pd.DataFrame | None = None
    measured = 0
    if importance_rows:
        some = sampled(rows, schema, importance_rows)
        measured = len(some)
        write(f"importance of {len({f.source for f in schema.inputs})} columns on {measured:,} test rows")
        importance = importance_table(model, some, write=write)
    return dataclasses.replace(
        facts,
        calibration=bins_of(calibration_table(schema, scored.labels, scored.predictions)),
        gains=gains_of(gains_table(schema, scored.labels, scored.predictions)),
        importance=() if importance is None else importance_of(importance),
        importance_rows=measured,
    )


def _sampled_arrays(rows: EncodedRows) -> dict[str, np.ndarray]:
    step = max(1, -(-len(rows) // _DRIFT_ROWS))
    return {name: array[::step] for name, array in rows.features.items()}
