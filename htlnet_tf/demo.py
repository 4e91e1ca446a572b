"""The main job end to end: rows, training, comparison, export, server, ranked candidates."""

from __future__ import annotations

import dataclasses
import sys
import time
from importlib import resources
from pathlib import Path

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.export import ExportedVersion, promote
from htlnet_tf.files import atomic_directory, checkpoint_path
from htlnet_tf.judging.summaries import comparison_text
from htlnet_tf.plots import plot_gradients, plot_learning_curves
from htlnet_tf.runs.config import ModelConfig, RunConfig, shipped
from htlnet_tf.runs.exporting import export_run
from htlnet_tf.runs.folder import Run, write_run
from htlnet_tf.runs.preparation import Write, prepare
from htlnet_tf.runs.reference import REFERENCE_ROWS
from htlnet_tf.runs.report import report_run
from htlnet_tf.runs.training import add_page, fit
from htlnet_tf.schema import Schema
from htlnet_tf.serving import EmbeddedServer, RestClient

MODEL_NAME = "htlnet"
_USERS = 3
_CANDIDATES = 5
_KEPT = 3


def run_demo(
    *,
    data: str | Path | None = None,
    config: RunConfig | None = None,
    output: str | Path = "runs/demo",
    models: str | Path = "models",
    command: str | None = None,
    write: Write = print,
) -> ExportedVersion:
    """Trains HTLNet and Shared-Bottom, exports HTLNet, serves it and ranks three users' candidates.

    Args:
      data: A folder in the published layout of KuaiRand-Pure; None: rows of the built-in generator.
      config: Stands in for the shipped configuration.
      output: The run folder; a former one is replaced.
      models: The folder of models to export into.
      command: The command line, for the run's page.
      write: Where the lines go.

    Returns:
      The exported version.

    Raises:
      InputError: The data are not usable or a path cannot be written to.
    """
    started = time.monotonic()
    config = config or RunConfig.from_yaml(shipped("generated" if data is None else "kuairand_pure"))
    config = config.with_data(data)
    output, models = checkpoint_path(output), checkpoint_path(models)
    if output.is_dir() and any(output.iterdir()) and not (output / "config.yaml").is_file():
        raise InputError(f"'{output}' is not a run folder, so the demo does not replace it; name another with --output")
    write(f"[1/5] Rows: {'built-in generator' if data is None else data}")
    prepared = prepare(config, reference_rows=REFERENCE_ROWS, write=lambda line: write(f"  {line}"))

    write("[2/5] Training HTLNet, and Shared-Bottom for comparison")
    run = fit(config, prepared, label="HTLNet, ", write=write)
    baseline = dataclasses.replace(config, model=ModelConfig("shared_bottom", {"gradient_metrics": True}))
    other = fit(baseline, prepared, label="Shared-Bottom, ", write=write)
    with atomic_directory(output, overwrite=True) as stage:
        write_run(run, stage)
        histories = {
            "HTLNet": run.trained[0].gradient_history,
            "Shared-Bottom (plain sum)": other.trained[0].gradient_history,
        }
        plot_gradients(histories, prepared.schema, stage / "gradients.png")
        curves = stage / "learning_curves_shared_bottom.png"
        plot_learning_curves(other.trained[0].history, prepared.schema, curves)
    add_page(run, prepared, output, command=command, write=lambda line: write(f"  {line}"))

    write(f"[3/5] Test metrics, {run.report.num_rows:,} rows")
    table = comparison_text({"HTLNet": run.report, "Shared-Bottom": other.report})
    write("\n".join(f"  {line}" if line else "" for line in table.splitlines()))
    write(f"  pictures: {output / 'learning_curves.png'}, {output / 'gradients.png'}")

    write(f"[4/5] Export to {models / MODEL_NAME}")
    version = export_run(output, models / MODEL_NAME, keep=_KEPT, write=lambda line: write(f"  {line}"))
    write(
        f"  {version.path}: loaded again, {version.verified_rows} rows score as in training "
        f"(largest difference {version.largest_difference:.1e})"
    )

    page = report_run(output, servable=version.path)  # which now has a servable
    write(f"  everything on one page: {page}")
    write(f"  {promote(models, MODEL_NAME, version.version).to_text()}")

    write("[5/5] Serving and scoring over REST")
    assert isinstance(prepared.test, pd.DataFrame)  # no demo reads a stream
    candidates = _candidates(prepared.schema, prepared.test)
    with EmbeddedServer(models, port=0) as server, RestClient(server.url, MODEL_NAME) as client:
        write(f"  embedded server at {server.url}")
        scores = client.predict(candidates)
        write(_ranking(prepared.schema, candidates, scores))
    write(f"  server stopped; {time.monotonic() - started:.0f} s in all")
    write(_next_steps(run, output, models))
    return version


def _candidates(schema: Schema, rows: pd.DataFrame) -> pd.DataFrame:
    """A few rows of each of the users who have enough of them, as an online request would hold."""
    user = _key(schema, "user")
    counts = rows.groupby(user, sort=False).size()
    chosen = counts[counts >= min(_CANDIDATES, counts.max())].index[:_USERS]
    return rows[rows[user].isin(chosen)].groupby(user, sort=False).head(_CANDIDATES)


def _ranking(schema: Schema, candidates: pd.DataFrame, scores: pd.DataFrame) -> str:
    """The candidates of each user, best first by the core target."""
    user, item, core = _key(schema, "user"), _key(schema, "item"), schema.core
    shown = scores[[t.name for t in schema.targets if t.name in scores]]
    names = {t.name: f"P({t.name})" for t in schema.steps} | {core.name: f"{core.name} ({core.unit or 'value'})"}
    lines = []
    for name, group in candidates.groupby(user, sort=False):
        ranked = shown.loc[group.index].sort_values(core.name, ascending=False).rename(columns=names)
        ranked.insert(0, item, group[item].loc[ranked.index])
        ranked.insert(0, "rank", range(1, len(ranked) + 1))
        lines.append(f"  {user} {name}")
        lines += [f"    {line}" for line in ranked.to_string(index=False, float_format=_amount).splitlines()]
    return "\n".join(lines)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _key(schema: Schema, group: str) -> str:
    """The first categorical column of a group, which by convention is its id."""
    return next((f.name for f in schema.categoricals if f.group == group), schema.categoricals[0].name)


def _next_steps(run: Run, output: str | Path, models: str | Path) -> str:
    targets = ", ".join(t.name for t in run.model.schema.targets)
    models = Path(models).resolve()
    return (
        f"\nNext (every row that is sent gets {targets}):\n"
        f"  htlnet serve {models}\n"
        "      the model at http://127.0.0.1:8501\n"
        f"  htlnet evaluate {Path(output).resolve()}\n"
        "      its test metrics again, from the run folder\n"
        f"  MODELS={models} docker compose -f {_compose_file()} up\n"
        "      the same under TensorFlow Serving\n"
        f"(htlnet is {Path(sys.executable).with_name('htlnet')})"
    )


def _compose_file() -> str:
    return str(resources.files("htlnet_tf.serving") / "docker-compose.yml")
