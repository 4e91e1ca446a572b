"""The page of a comparison: what its folder has, read and arranged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pandas as pd
import yaml

from htlnet_tf.comparison.pictures import WITHOUT_ADJUSTMENT
from htlnet_tf.comparison.tables import ORACLE
from htlnet_tf.comparison.variants import SUBJECT, Table
from htlnet_tf.data.splits import Split
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.judging.reports import MetricRow, Report
from htlnet_tf.page.comparison_inputs import ComparedTable, ComparisonFacts, ComparisonInputs
from htlnet_tf.page.comparison_page import comparison_page
from htlnet_tf.page.render import render
from htlnet_tf.runs.config import RunConfig, load_rows
from htlnet_tf.runs.page import FACTS, PAGE, data_name, read_shares, read_table
from htlnet_tf.schema import Schema

_CONFIG = "comparison.yaml"
_WORDS = ("target", "kind", "metric", "model", "table", "subject", "other", "variant", "failure")


def is_comparison(folder: Path) -> bool:
    """Whether a folder is one of a comparison."""
    return (folder / _CONFIG).is_file()


def write_comparison_page(
    root: Path, tables: Sequence[Table], schema: Schema, constants: Mapping[str, Report], command: str | None
) -> None:
    """Writes `page.json` and `report.html` into the folder of a comparison whose other files are there.

    Args:
      root: The folder.
      tables: Of the results.
      schema: With everything settled.
      constants: By name, the metrics of what is not fitted.
      command: The command line; None: there was none.
    """
    known = {name: _with_no_regret(each) if name == ORACLE else each for name, each in constants.items()}
    facts = ComparisonFacts(
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        schema=schema.to_dict(),
        tables=tuple(ComparedTable(t.name, t.title, t.labels, t.references) for t in tables),
        constants={name: report.to_dict() for name, report in known.items()},
    )
    with atomic_file(root / FACTS) as partial:
        partial.write_text(facts.to_json(), encoding="utf-8")
    report_comparison(root)


def _with_no_regret(oracle: Report) -> Report:
    """The truth loses nothing against itself."""
    kinds = {row.target: row.kind for row in oracle.rows}
    regret = tuple(MetricRow(target, kind, "regret", 0.0) for target, kind in kinds.items())
    return dataclasses.replace(oracle, rows=(*oracle.rows, *regret))


def report_comparison(directory: str | Path, output: str | Path | None = None) -> Path:
    """Writes the page of a comparison.

    Args:
      directory: The folder; one of an older version gives a page that says what is missing.
      output: The HTML file; None: `report.html` in the folder.

    Returns:
      The file.

    Raises:
      InputError: The folder is no comparison, no run of it is finished, or a file in it is damaged.
    """
    page = comparison_page(comparison_inputs(directory))
    path = local_path(directory) / PAGE if output is None else local_path(output)
    with atomic_file(path) as partial:
        partial.write_text(render(page), encoding="utf-8")
    return path


def comparison_inputs(directory: str | Path) -> ComparisonInputs:
    """What the folder of a comparison has for its page.

    Raises:
      InputError: As for `report_comparison`.
    """
    folder = local_path(directory)
    config, facts = RunConfig.from_yaml(folder / _CONFIG), ComparisonFacts.load(folder / FACTS)
    summary, runs = _table(folder / "summary.csv"), _table(folder / "runs.csv")
    if summary is None or runs is None:
        raise InputError(
            f"'{directory}' has no summary.csv and runs.csv yet: its `htlnet compare` command goes on where it stopped"
        )
    schema = _schema(config, facts)
    tests = _table(folder / "significance.csv")
    tables = facts.tables if facts else _guessed(summary)
    labels = {variant: label for table in tables for variant, label in table.labels.items()}
    models = [variant for variant in labels if variant not in REFERENCES]
    split = folder / "split.yaml"
    document = yaml.safe_load(config.to_yaml())
    document.pop("schema", None)
    return ComparisonInputs(
        name=str(directory).rstrip("/"),
        title=f"Models on {data_name(config)}",
        schema=schema,
        settings=document,
        config_text=config.to_yaml(),
        tables=tables,
        summary=summary.assign(best=summary["best"] == "True"),
        runs=runs,
        tests=None if tests is None else _with_flags(tests),
        constants={name: Report.from_dict(each, schema) for name, each in (facts.constants if facts else {}).items()},
        calibration=_found({labels[v]: _calibration(folder, v) for v in models}),
        histories=_found({labels[v]: _of_first_run(folder, "runs", v, "history.csv") for v in models}),
        gradients=_gradients(folder),
        out_of_vocabulary=read_shares(folder / "out_of_vocabulary.csv"),
        split=Split.from_yaml(split).to_dict() if split.exists() else None,
        versions=_json(folder / "versions.json"),
        num_train=_json(folder / "data.json").get("num_train"),
        facts=facts,
    )


def _schema(config: RunConfig, facts: ComparisonFacts | None) -> Schema:
    if facts is not None and facts.schema is not None:
        return Schema.from_dict(facts.schema)
    if config.schema is not None:
        return config.settled(config.schema)
    # Generated rows bring their schema; the fewest that there can be are made in no time.
    return load_rows(dataclasses.replace(config, data=dataclasses.replace(config.data, num_rows=1000))).schema


def _guessed(summary: pd.DataFrame) -> tuple[ComparedTable, ...]:
    """The tables of a folder that does not tell their titles."""
    found = []
    for name, rows in summary.groupby("table", sort=False):
        variants = list(dict.fromkeys(rows["model"]))
        references = tuple(v for v in variants if v in REFERENCES)
        found.append(ComparedTable(str(name), str(name).capitalize(), {v: v for v in variants}, references))
    return tuple(found)


def _table(path: Path) -> pd.DataFrame | None:
    """A CSV file in which names may be `NA` or `1`; only numbers are numbers."""
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    flags = ("best", "best_other", "is_reference")
    numbers = [str(name) for name in table if name not in (*_WORDS, *flags)]
    return table.assign(**{name: pd.to_numeric(table[name], errors="coerce") for name in numbers})


def _with_flags(tests: pd.DataFrame) -> pd.DataFrame:
    return tests.assign(**{name: tests[name] == "True" for name in ("best_other", "is_reference")})


def _seeds(folder: Path, below: str, variant: str) -> list[Path]:
    found = [path for path in (folder / below / variant).glob("seed_*") if path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]))


def _calibration(folder: Path, variant: str) -> pd.DataFrame | None:
    """The bins of a variant, their means over the seeds."""
    tables = [_table(path / "calibration.csv") for path in _seeds(folder, "runs", variant)]
    known = [table for table in tables if table is not None and len(table)]
    if not known:
        return None
    values = ["mean_prediction", "mean_label"]
    return pd.concat(known).groupby(["target", "bin"], sort=False)[values].mean().reset_index()


def _of_first_run(folder: Path, below: str, variant: str, name: str) -> pd.DataFrame | None:
    """A table of a variant's first run; of an ensemble, its first member's rows."""
    for path in _seeds(folder, below, variant):
        table = read_table(path / name)
        if table is not None:
            return table[table["seed"] == table["seed"].iloc[0]] if "seed" in table else table
    return None


def _gradients(folder: Path) -> dict[str, pd.DataFrame]:
    """Those of the subject with its adjustment and without, as far as they were run."""
    plain = _of_first_run(folder, "runs", WITHOUT_ADJUSTMENT, "gradient_history.csv")
    if plain is None:
        plain = _of_first_run(folder, "extra", WITHOUT_ADJUSTMENT, "gradient_history.csv")
    subject = _of_first_run(folder, "runs", SUBJECT, "gradient_history.csv")
    return _found({f"{SUBJECT} with its adjustment": subject, f"{SUBJECT} without it (plain sum)": plain})


def _found(tables: Mapping[str, pd.DataFrame | None]) -> dict[str, pd.DataFrame]:
    return {name: table for name, table in tables.items() if table is not None}


def _json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
