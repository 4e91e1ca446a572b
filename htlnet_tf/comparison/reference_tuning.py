"""What of the references is searched, and the validation loss of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Union

from htlnet_tf.comparison.reference_runs import fit_reference
from htlnet_tf.runs.config import ModelConfig
from htlnet_tf.runs.preparation import Prepared, Write

if TYPE_CHECKING:
    import optuna

    Suggesting = Union[optuna.Trial, optuna.trial.FixedTrial]

_SPACES: dict[str, Callable[[Suggesting], dict[str, float]]] = {
    "lightgbm": lambda trial: {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.2, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 7, 255, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 20, 1000, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 100.0, log=True),
    },
    "glm": lambda trial: {"alpha": trial.suggest_float("alpha", 1e-6, 1e-1, log=True)},
}
"""By the name of a reference up to its objective."""


def reference_settings(trial: Suggesting, model: ModelConfig) -> ModelConfig:
    """A trial's settings of a reference; what is not searched stays."""
    space = _SPACES[model.name.partition("@")[0]]
    return ModelConfig(model.name, {**model.arguments, **space(trial)})


def reference_defaults(model: ModelConfig) -> dict[str, Any]:
    """The settings of the first trial, those without a search."""
    import optuna

    searched = optuna.trial.FixedTrial(dict(model.arguments))
    reference_settings(searched, model)
    return dict(searched.params)


def reference_loss(model: ModelConfig, prepared: Prepared, *, seed: int, label: str, write: Write) -> float:
    """The relative loss on the validation rows, which models are tuned by too.

    Args:
      model: The reference and its settings.
      prepared: The rows.
      seed: Of what is drawn at random.
      label: Put before the progress line.
      write: Where that goes.
    """
    settings: Mapping[str, Any] = model.arguments
    _, loss = fit_reference(model.name, settings, prepared, seed=seed)
    write(f"  {label}validation: relative loss {loss:.4f}")
    return loss if math.isfinite(loss) else math.inf
