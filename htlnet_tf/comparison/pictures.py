"""The pictures of a comparison, from the files of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from htlnet_tf.comparison.runs import Job
from htlnet_tf.comparison.tables import Records, good_reports
from htlnet_tf.comparison.variants import SUBJECT, Table
from htlnet_tf.plots import plot_attention, plot_calibration, plot_comparison, plot_gradients
from htlnet_tf.schema import Schema

WITHOUT_ADJUSTMENT = f"{SUBJECT}+sum"
"""The variant whose gradients stand beside the subject's."""


def draw_pictures(
    root: Path, tables: Sequence[Table], records: Records, schema: Schema, gradient_jobs: Sequence[Job]
) -> list[Path]:
    """Draws what the runs allow: metrics and calibration per table, gradients and attention of HTLNet.

    Args:
      root: The comparison's folder.
      tables: The tables of the results.
      records: The runs, by variant.
      schema: The declared columns.
      gradient_jobs: The runs whose gradients stand side by side.

    Returns:
      The files that were written.
    """
    for old in (*root.glob("metrics_*.png"), *root.glob("calibration_*.png")):
        old.unlink()  # of a table that is no longer asked for
    drawn = []
    for table in tables:
        labels = table.labels
        reports = good_reports(records, labels)
        if not reports:
            continue
        by_label = {labels[v]: list(by_seed.values()) for v, by_seed in reports.items()}
        path = root / f"metrics_{table.name}.png"
        drawn.append(plot_comparison(by_label, path, title=table.title, references=table.references))
        models = [v for v in reports if v not in table.references]
        if not models:
            continue
        calibration = {labels[v]: _read(root, records, v, "calibration.csv") for v in models}
        subject = labels.get(SUBJECT)
        highlight = subject if subject in calibration else None
        path = root / f"calibration_{table.name}.png"
        drawn.append(
            plot_calibration(calibration, schema, path, title="Calibration on the test rows", highlight=highlight)
        )
    drawn += _references_calibration(root, tables, records, schema)
    gradients = {job.variant: root / job.folder / "gradient_history.csv" for job in gradient_jobs}
    names = {SUBJECT: "with the adjustment", WITHOUT_ADJUSTMENT: "without (plain sum)"}
    histories = {names[v]: _series(path) for v, path in gradients.items() if path.is_file()}
    if histories:
        drawn.append(plot_gradients(histories, schema, root / "gradients.png"))
    attention = _read(root, records, SUBJECT, "attention.csv") if SUBJECT in records else []
    if attention:
        drawn.append(plot_attention(attention, schema, root / "attention.png", title="Attention of the fusion units"))
    return drawn


def _references_calibration(root: Path, tables: Sequence[Table], records: Records, schema: Schema) -> list[Path]:
    """The references beside HTLNet, in a picture of their own: with all models there would be too many lines."""
    references = list(dict.fromkeys(name for table in tables for name in table.references))
    found = list(good_reports(records, [SUBJECT, *references] if references else []))
    if not found:
        return []
    calibration = {v: _read(root, records, v, "calibration.csv") for v in found}
    path = root / "calibration_references.png"
    highlight = SUBJECT if SUBJECT in found else None
    title = "Calibration of the references on the test rows"
    return [plot_calibration(calibration, schema, path, title=title, highlight=highlight)]


def _read(root: Path, records: Records, variant: str, name: str) -> list[pd.DataFrame]:
    paths: Iterable[Path] = (root / "runs" / variant / f"seed_{record.seed}" / name for record in records[variant])
    return [_table(path) for path in paths if path.is_file()]


def _table(path: Path) -> pd.DataFrame:
    """A target may be called `NA` or `1`; only the numbers are numbers."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    numbers = [name for name in table if name not in ("target", "unit", "input")]
    return table.assign(**{str(name): pd.to_numeric(table[name], errors="coerce") for name in numbers})


def _series(path: Path) -> dict[str, list[float]]:
    """Per step; of an ensemble, those of its first member."""
    table = pd.read_csv(path, index_col=0)
    if table.index.name == "seed":
        table = table.loc[[table.index[0]]].set_index(table.columns[0])
    return {str(name): values.tolist() for name, values in table.items()}
