"""Several models on the same rows with the same budget, over several seeds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.config import ModelConfig, RunConfig
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_directory
from htlnet_tf.models import model_class
from htlnet_tf.plots import plot_comparison
from htlnet_tf.preparation import prepare
from htlnet_tf.reports import Report, comparison_text
from htlnet_tf.training import fit


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The runs of a comparison.

    Attributes:
      reports: By model name, the test metrics of each seed.
      runs: One row per model and seed: epochs, parameters, and every metric as `{target}_{metric}`.
    """

    reports: dict[str, list[Report]]
    runs: pd.DataFrame

    def to_text(self) -> str:
        """The table for people."""
        return comparison_text(self.reports)


def compare(
    config: RunConfig,
    models: Sequence[str],
    seeds: Sequence[int],
    output: str | Path,
    *,
    data: str | Path | None = None,
    overwrite: bool = False,
    write: Callable[[str], None] = print,
) -> Comparison:
    """Trains every model with every seed: the same rows, encoder, batch size, learning rate and early stopping.

    Args:
      config: As for `train`; its model's arguments hold for the model it names, the others take their defaults.
      models: Names of models.
      seeds: Seeds of the initial weights, the order of the rows and the Gumbel noise.
      output: A folder for `comparison.txt`, `runs.csv`, `metrics.json`, `config.yaml` and `comparison.png`.
      data: Stands in for `config.data.path`.
      overwrite: Replace an existing folder.
      write: Where progress lines go.

    Raises:
      InputError: A model is not known or named twice, or the data or the configuration are not usable.
    """
    if not models or not seeds:
        raise InputError(f"at least one model and one seed are needed, received {list(models)} and {list(seeds)}")
    if len(set(models)) < len(models):
        raise InputError(f"a model is named twice: {list(models)}")
    for name in models:
        model_class(name)
    config = config.with_data(data or config.data.path)
    reports: dict[str, list[Report]] = {name: [] for name in models}
    rows = []
    with atomic_directory(output, overwrite=overwrite) as stage:
        prepared = prepare(config, write=write)
        for seed in seeds:
            for name in models:
                chosen = config.model if name == config.model.name else ModelConfig(name=name)
                training = dataclasses.replace(config.training, seed=seed)
                one = dataclasses.replace(config, model=chosen, training=training)
                run = fit(one, prepared, label=f"{name}, seed {seed}, ", write=write)
                reports[name].append(run.report)
                metrics = {f"{row.target}_{row.metric}": row.value for row in run.report.rows}
                parameters = sum(int(np.prod(w.shape)) for w in run.model.trainable_variables)
                facts = {"epochs": len(run.history["loss"]), "parameters": parameters}
                rows.append({"model": name, "seed": seed, **facts, **metrics})
        comparison = Comparison(reports, pd.DataFrame(rows))
        prepared.split.to_yaml(stage / "split.yaml")
        prepared.out_of_vocabulary.to_csv(stage / "out_of_vocabulary.csv", index_label="feature")
        if prepared.bad_rows:
            prepared.bad_rows.write(stage / "bad_rows.csv")
        (stage / "comparison.txt").write_text(comparison.to_text() + "\n", encoding="utf-8")
        (stage / "config.yaml").write_text(dataclasses.replace(config, schema=prepared.schema).to_yaml(), "utf-8")
        documents = {name: [report.to_dict() for report in each] for name, each in reports.items()}
        (stage / "metrics.json").write_text(json.dumps(documents, indent=2, allow_nan=False), encoding="utf-8")
        comparison.runs.to_csv(stage / "runs.csv", index=False)
        plot_comparison(reports, stage / "comparison.png")
    return comparison
