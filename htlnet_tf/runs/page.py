"""The page of a run folder: what the folder has, read and arranged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml

from htlnet_tf.data.splits import Split
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.reports import Report
from htlnet_tf.manifest import record, require_intact
from htlnet_tf.page.facts import RunFacts
from htlnet_tf.page.render import render
from htlnet_tf.page.run_inputs import RunInputs
from htlnet_tf.page.run_page import run_page
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import load_config, load_held_out, load_metrics
from htlnet_tf.runs.lineage import load_lineage
from htlnet_tf.schema import Schema

PAGE, FACTS = "report.html", "page.json"


def write_run_page(facts: RunFacts, stage: Path, name: str) -> None:
    """Writes `page.json` and `report.html` into the folder of a run whose other files are there.

    Args:
      facts: What the page tells beside them.
      stage: The folder.
      name: What the user calls it, as the commands on the page have it.
    """
    with atomic_file(stage / FACTS) as path:
        path.write_text(facts.to_json(), encoding="utf-8")
    record(stage, [FACTS])
    page = render(run_page(run_inputs(stage, name=name)))
    with atomic_file(stage / PAGE) as path:
        path.write_text(page, encoding="utf-8")
    record(stage, [FACTS, PAGE])


def run_inputs(directory: str | Path, *, name: str | None = None) -> RunInputs:
    """What a run folder has for its page.

    Args:
      directory: The folder.
      name: What the user calls it; None: as `directory`.

    Raises:
      InputError: It is no run folder, or a file in it is damaged.
    """
    folder = local_path(directory)
    # All that the page tells, and not the weights, of which it tells nothing.
    require_intact(folder, FACTS, "history.csv", "gradient_history.csv", "out_of_vocabulary.csv", "split.yaml")
    config = load_config(folder)
    schema = _schema(config, folder)
    metrics, facts = load_metrics(folder), RunFacts.load(folder / FACTS)
    split = folder / "split.yaml"
    document = yaml.safe_load(config.to_yaml())
    document.pop("schema", None)
    return RunInputs(
        name=(str(directory) if name is None else name).rstrip("/"),  # paths on the page begin with it
        title=f"{(facts and facts.model) or config.model.name} on {data_name(config)}",
        schema=schema,
        settings=document,
        config_text=config.to_yaml(),
        report=None if metrics is None else Report.from_dict(metrics, schema),
        facts=facts,
        history=read_table(folder / "history.csv"),
        gradients=read_table(folder / "gradient_history.csv"),
        out_of_vocabulary=read_shares(folder / "out_of_vocabulary.csv"),
        split=Split.from_yaml(split).to_dict() if split.exists() else None,
        lineage=load_lineage(folder),
        held_out=load_held_out(folder) if (folder / "held_out.parquet").exists() else None,
    )


def data_name(config: RunConfig) -> str:
    """What the rows are called: the data set, or the file of any other table."""
    if config.data.loader == "generic" and config.data.path:
        return Path(config.data.path).stem
    return config.data.loader.replace("_", " ") + (" rows" if config.data.loader == "generated" else "")


def read_table(path: Path) -> pd.DataFrame | None:
    """A CSV file of numbers; None if it is not there.

    Raises:
      InputError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=["", "nan"])
    except (OSError, ValueError) as error:  # pandas' own errors of CSV are of the second kind
        raise InputError(f"cannot read '{path}': {error}") from error
    return table.apply(pd.to_numeric, errors="coerce") if len(table) else None


def read_shares(path: Path) -> pd.DataFrame | None:
    """A CSV file whose first column names features, which may be called `NA` or `1`; None if it is not there.

    Raises:
      InputError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    return table.set_index(str(table.columns[0])).apply(pd.to_numeric, errors="coerce")


def _schema(config: RunConfig, folder: Path) -> Schema:
    if config.schema is None:
        raise InputError(f"'{folder / 'config.yaml'}' has no schema, so it is no run folder's")
    return config.schema
