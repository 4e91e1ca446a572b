"""`htlnet update`: a run, and a further day -> a run that has learned it too."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import pandas as pd

from htlnet_tf.data.stream import Stream
from htlnet_tf.encoding.encoded import EncodedRows, Rows, encode_rows
from htlnet_tf.encoding.growth import Growth, grow
from htlnet_tf.encoding.tally import Aging
from htlnet_tf.errors import InputError
from htlnet_tf.files import checkpoint_path
from htlnet_tf.manifest import sealed_directory
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.carrying import moved_weights
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.page.lineage import LearnedDay, Lineage
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import Run, load_model, write_run
from htlnet_tf.runs.lineage import LINEAGE, lineage_before, now, parent_of
from htlnet_tf.runs.parts import rows_of_part
from htlnet_tf.runs.preparation import Prepared, Trainable, Write, coverage_of, require_calibration
from htlnet_tf.runs.reference import Reference
from htlnet_tf.runs.training import add_page, calibrate_as_configured, judged
from htlnet_tf.runs.update.day import DayRows, load_day
from htlnet_tf.runs.update.learning import learn, learn_more, members_after
from htlnet_tf.runs.update.progressive import Progressive, predict_before
from htlnet_tf.runs.update.settings import UpdateConfig

PROGRESSIVE = "progressive.json"


@dataclasses.dataclass(frozen=True)
class Update:
    """A run that has learned a further day.

    Attributes:
      run: As `htlnet_tf.runs.training.train` gives it; its report is of the day's last part, before that was learned
        too.
      progressive: The metrics of the day as the run before predicts it.
      lineage: All days so far.
      seconds: By step, what it took.
    """

    run: Run
    progressive: Progressive
    lineage: Lineage
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "progressive": self.progressive.to_dict(),
            "test": self.run.report.to_dict(),
            "lineage": self.lineage.to_dict(),
            "seconds": dict(self.seconds),
        }


def update(
    run: str | Path,
    rows: Union[Rows, str, Path],
    output: str | Path,
    *,
    settings: UpdateConfig | None = None,
    overwrite: bool = False,
    importance_rows: int = 0,
    command: str | None = None,
    write: Write = print,
) -> Update:
    """Teaches a run a further day, and writes a run folder that has learned it.

    The model goes on from its weights and its optimizer's moments. First it predicts the day (progressive validation).
    Then its vocabularies grow by the values that have reached `min_count` over all days, values that have vanished give
    their rows back, and tables and moments move along by feature and value. It learns the first part of the day,
    history statistics being those of the days before; level and calibration are fitted on the second; the third judges
    it. Then it learns these two parts as well, level and calibration are fitted anew on them, and the statistics move
    on.

    The folder has what that of `htlnet_tf.runs.training.train` has, and `progressive.json`, `lineage.json` and
    `reference_met.parquet`, what of the reference rows the run before did not know. It appears complete or not at all.

    Args:
      run: The folder of a run, of `htlnet_tf.runs.training.train` or of this function; of an ensemble each member goes
        on.
      rows: The day: a frame, a stream, or the path of what the run's loader reads; of a run on generated rows, a table.
      output: The run folder to write, another one.
      settings: How; None: as the run's configuration says, `update:`.
      overwrite: Replace an existing folder.
      importance_rows: Rows of the last part that the page's importance of the columns is measured on; 0: it is left
        out.
      command: The command line, for the page.
      write: Where progress lines go.

    Returns:
      The new run, and how the day was predicted before it was learned.

    Raises:
      InputError: `run` is no run folder or is damaged; the rows lack a column, break a rule of the schema or are too
        few; or `output` exists already.
      NonFiniteError: A loss or gradient is not finite; nothing is written.

    Example:
      >>> htl.update("runs/monday", "logs/tuesday.parquet", "runs/tuesday")
    """
    if importance_rows < 0:
        raise InputError(f"the rows that importance is measured on cannot be negative, received {importance_rows}")
    folder, clock = checkpoint_path(run), Clock()
    if checkpoint_path(output).resolve() == folder.resolve():
        raise InputError(f"an update writes another run folder; '{output}' is the run's own")
    with sealed_directory(output, overwrite=overwrite) as stage:
        config, before = load_model(folder)
        config = config if settings is None else dataclasses.replace(config, update=settings)
        clock.passed("load")
        day = load_day(config, before.encoder.schema, rows, folder, config.update.fractions)
        progressive = predict_before(before, day.rows)
        write(f"as predicted before it is learned:\n\n{progressive.to_text()}\n")
        clock.passed("predict")
        aging = Aging(before.encoder.statistics.days + 1, config.update.evict_after, config.update.half_life)
        growth = grow(before.encoder, day.rows, aging)
        write(_growth_text(growth))
        prepared = _prepared(day, growth)
        clock.passed("grow")
        rows_before, embedding_rows, tables = (
            before.encoder.statistics.num_rows,
            before.encoder.num_rows,
            growth.tables(),
        )
        weights = [moved_weights(member, tables) for member in before.members]
        before.encoder.forget_tables()
        del before
        gc.collect()  # a Keras model is in cycles: now, before there are new tables as large as its own
        members, kept = members_after(config, weights, growth, tables, folder)
        del weights
        clock.passed("carry")
        made = _learned(day.config, members, growth, prepared, write)
        clock.passed("learn")
        write_run(made, stage)
        known = lineage_before(folder, rows=rows_before, embedding_rows=embedding_rows, data=config.data.path)
        learned = LearnedDay(
            "update",
            growth.num_rows,
            made_at=now(),
            data=day.config.data.path if isinstance(rows, (str, Path)) else None,
            first=day.first,
            last=day.last,
            parent=parent_of(folder),
            added=dict(growth.added),
            dropped=dict(growth.dropped),
            embedding_rows=growth.encoder.num_rows,
            kept_moments=kept,
            metrics=progressive.headline(),
        )
        lineage = Lineage((*known.days, learned))
        (stage / LINEAGE).write_text(lineage.to_json(), encoding="utf-8")
        document = json.dumps(progressive.to_dict(), indent=2, allow_nan=False)
        (stage / PROGRESSIVE).write_text(document, encoding="utf-8")
        clock.passed("save")
    add_page(made, prepared, output, command=command, importance_rows=importance_rows, write=write)
    clock.passed("page")
    return Update(made, progressive, lineage, clock.seconds)


def _prepared(day: DayRows, growth: Growth) -> Prepared:
    """The day's parts, encoded as they are learned: with the statistics of the days before."""
    encoder, streamed = growth.learning, day.config.data.streaming
    raw = {part: rows_of_part(day.rows, day.split, part) for part in ("train", "valid", "test")}
    parts: dict[str, Trainable] = {}
    for name in ("train", "valid"):
        rows = raw[name]
        parts[name] = rows if streamed and not isinstance(rows, pd.DataFrame) else encode_rows(rows, encoder)
    require_calibration(day.config, encoder, parts["valid"])
    covered = {name: coverage_of(part, encoder) for name, part in parts.items()}
    sizes = {name: coverage.num_rows for name, coverage in covered.items()}
    sizes["test"] = growth.num_rows - sum(sizes.values())
    if not all(sizes.values()):
        raise InputError(f"the day's rows: every part needs some, received {sizes}: {day.split.to_dict()}")
    return Prepared(
        encoder.schema,
        encoder,
        day.split,
        parts["train"],
        parts["valid"],
        raw["test"],
        pd.DataFrame({name: coverage.shares() for name, coverage in covered.items()}),
        day.rows.bad_rows if isinstance(day.rows, Stream) else None,
        sizes=sizes,
        reference=Reference.of(raw["train"], raw["valid"], encoder.schema, before=growth.before),
    )


def _learned(
    config: RunConfig, members: Sequence[MultiTaskModel], growth: Growth, prepared: Prepared, write: Write
) -> Run:
    trained = learn(config, members, growth, prepared, write=write)
    run = judged(config, prepared, trained)
    model: ScoringModel = run.model
    if config.update.learn_all:
        parts: list[Trainable] = [prepared.valid]
        if isinstance(prepared.valid, EncodedRows):
            parts = [EncodedRows.concatenate([prepared.valid, encode_rows(prepared.test, growth.learning)])]
        elif isinstance(prepared.test, Stream):
            parts.append(prepared.test)
        model.calibration = None  # of the weights before
        learn_more(config, members, growth, parts)
        calibrate_as_configured(config, model, parts[0])
    for member in members:
        member.change_encoder(growth.encoder)
    return run


def _growth_text(growth: Growth) -> str:
    changed = [
        f"{name} +{growth.added[name]:,}" + (f" -{growth.dropped[name]:,}" if growth.dropped[name] else "")
        for name in growth.added
        if growth.added[name] or growth.dropped[name]
    ]
    grown = f"{growth.before.num_rows:,} -> {growth.encoder.num_rows:,} embedding rows"
    return f"{growth.num_rows:,} rows; {grown}{': ' if changed else ''}{', '.join(changed)}"


class Clock:
    """Seconds from step to step.

    Attributes:
      seconds: By step.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def passed(self, step: str) -> None:
        """A step has ended."""
        now_ = time.monotonic()
        self.seconds[step], self._last = now_ - self._last, now_
