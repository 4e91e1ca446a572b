"""The page of a run."""

from __future__ import annotations

import shlex
from datetime import datetime

from htlnet_tf.page.blocks import Page, Section
from htlnet_tf.page.numbers import duration_text
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.page.sections.calibration import calibration_section
from htlnet_tf.page.sections.data import data_section
from htlnet_tf.page.sections.days import days_section
from htlnet_tf.page.sections.gains import gains_section
from htlnet_tf.page.sections.importance import importance_section
from htlnet_tf.page.sections.learning import learning_section
from htlnet_tf.page.sections.quality import quality_section, tiles
from htlnet_tf.page.sections.reproduction import reproduction_section
from htlnet_tf.page.sections.serving import serving_section
from htlnet_tf.page.sections.training import training_section


def run_page(run: RunInputs) -> Page:
    """Arranges what is known of a run; what is missing is said."""
    facts = run.known
    again = f"htlnet train {shlex.quote(run.name + '/config.yaml')} --output {shlex.quote(run.name + '_again')}"
    found: list[Section | None] = [
        training_section(run),
        days_section(run.lineage),
        quality_section(run),
        calibration_section(run),
        gains_section(run),
        importance_section(run),
        learning_section(run),
        data_section(run.schema, run.out_of_vocabulary, facts.drift),
        serving_section(run),
        reproduction_section(facts.command, again, run.config_text),
    ]
    return Page(
        title=run.title,
        lead=_lead(run),
        tiles=tiles(run),
        notices=_notices(run),
        sections=[section for section in found if section is not None],
        footer=footer_text(facts.versions.get("htlnet_tf"), facts.made_at),
    )


def footer_text(version: str | None, made_at: str | None) -> str:
    """Who made it, and when."""
    said = f"Made by htlnet_tf{f' {version}' if version else ''}"
    if made_at is None:
        return f"{said}."
    return f"{said} on {datetime.fromisoformat(made_at):%Y-%m-%d %H:%M} UTC."


def _lead(run: RunInputs) -> str:
    facts, said = run.known, []
    if facts.rows:
        said.append(
            f"Trained on {facts.rows.get('train', 0):,} rows, chosen on {facts.rows.get('valid', 0):,}, tested on "
            f"{facts.rows.get('test', 0):,}."
        )
    *steps, core = (target.name for target in run.schema.targets)
    unit = f" in {run.schema.core.unit}" if run.schema.core.unit else ""
    said.append(f"The funnel: {' → '.join(steps)} → {core}{unit}.")
    if facts.members:
        said.append(f"Training took {duration_text(sum(member.seconds for member in facts.members))}.")
    if facts.test_rows:
        said.append(f"Metrics, calibration, gains and importance are of {facts.test_rows}.")
    return " ".join(said)


def _notices(run: RunInputs) -> list[str]:
    missing = []
    if run.report is None:
        missing.append("test metrics (metrics.json)")
    if run.facts is None:
        missing.append(
            "versions, seconds, predictions without a model and drift, which only training tells (page.json)"
        )
    if not run.known.calibration or not run.known.gains:
        missing.append("calibration and gains")
    if not run.known.importance:
        missing.append("importance of the columns")
    if run.history is None:
        missing.append("learning curves (history.csv)")
    if run.out_of_vocabulary is None:
        missing.append("values out of vocabulary (out_of_vocabulary.csv)")
    if run.held_out is None:
        missing.append("example requests (held_out.parquet)")
    if not missing:
        return []
    command = f"htlnet report {shlex.quote(run.name)}"
    remedy = (
        f"{command} --data PATH computes calibration, gains and importance from rows and the model; "
        "--importance 4000 does so on the configuration's own rows."
    )
    return [f"Not in this run folder: {'; '.join(missing)}. {remedy}"]
