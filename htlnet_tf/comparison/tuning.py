"""The settings of each variant searched on the validation rows, with as many trials for each."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import tensorflow as tf

from htlnet_tf.comparison.folder import Folder, settled
from htlnet_tf.comparison.names import VariantName
from htlnet_tf.comparison.reference_tuning import reference_defaults, reference_loss, reference_settings
from htlnet_tf.comparison.runs import Job
from htlnet_tf.comparison.workers import run_all
from htlnet_tf.documents import require_same
from htlnet_tf.errors import InputError, NonFiniteError
from htlnet_tf.files import atomic_file
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.models import HTLNet, model_class
from htlnet_tf.runs.config import ModelConfig, RunConfig
from htlnet_tf.runs.preparation import Prepared, Write
from htlnet_tf.runs.training import train_model

if TYPE_CHECKING:
    import optuna

    Suggesting = Union[optuna.Trial, optuna.trial.FixedTrial]

_LEARNING_RATES = (0.3, 3.0)  # of the configuration's
_WIDTHS = (0.5, 1.0, 2.0)

_METHOD_SPACES: dict[str, Callable[[Suggesting], dict[str, float]]] = {
    "htlnet": lambda trial: {
        "alpha": trial.suggest_float("alpha", 0.0, 1.0),
        "gamma": trial.suggest_float("gamma", 0.0, 1.0),
        "clip": trial.suggest_float("clip", 1.0, 1000.0, log=True),
    },
    "metabalance": lambda trial: {"relax": trial.suggest_float("relax", 0.0, 1.0)},
    "cagrad": lambda trial: {"c": trial.suggest_float("c", 0.0, 0.9)},
}
_METHOD_DEFAULTS = {
    "htlnet": {"alpha": 1.0, "gamma": 0.5, "clip": 100.0},
    "metabalance": {"relax": 0.7},
    "cagrad": {"c": 0.4},
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a variant is run with.

    Attributes:
      model: The model and its arguments.
      learning_rate: Of the optimizer.
      parameters: What was searched, by name; empty if nothing was.
      value: The relative loss on the validation rows that they reached.
      trials: How many there were.
    """

    model: ModelConfig
    learning_rate: float
    parameters: Mapping[str, float] = dataclasses.field(default_factory=dict)
    value: float = math.nan
    trials: int = 0

    def job(self, config: RunConfig, variant: str, seed: int) -> Job:
        """The run of a seed with these settings."""
        training = dataclasses.replace(config.training, learning_rate=self.learning_rate)
        return Job.of(dataclasses.replace(config, training=training), variant, self.model, seed)

    def text(self) -> str:
        """What was found, in a line for people."""
        shown = ", ".join(f"{name} {value:.3g}" for name, value in self.parameters.items())
        return f"{shown} (relative loss {self.value:.4f}, {self.trials} trials)"


def tune_variants(
    config: RunConfig,
    variants: Mapping[str, ModelConfig],
    prepared: Prepared,
    folder: Folder,
    *,
    trials: int,
    jobs: int,
    write: Write,
) -> dict[str, Settings]:
    """Searches the settings of every variant on the validation rows; the test rows are not looked at.

    The learning rate, from 0.3 to 3 times the configuration's, and a factor on the widths of all layers are searched
    for every variant; where HTLNet's adjustment is at work also alpha, gamma and C, and the one number that MetaBalance
    and CAGrad have. Of references it is the number, size and regularisation of the trees, or the penalty. The first
    trial has the configuration's own settings. What is minimised is what early stopping goes by, the mean of the
    targets' relative losses, with the configuration's own seed. Of an ensemble one member is trained in each trial.

    Trials are kept one by one in `tuning/`; stopped at any point, the same call goes on with those that are missing.
    What a search was asked for is kept with it: another number of trials, seed or configuration is another search.

    Args:
      config: The configuration.
      variants: By name.
      prepared: The rows.
      folder: The comparison's folder.
      trials: For each variant.
      jobs: Processes; each tunes one variant at a time.
      write: Where progress lines go.

    Raises:
      InputError: Optuna is not installed, no trial of a variant ended with a finite loss, or the folder has a search
        that was asked for otherwise.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError("tuning needs Optuna: pip install 'htlnet-tf[tune]'") from error
    # Absolute: Optuna locks a journal by a link, which would dangle, and a lock that a killed process left never end.
    where = (folder.root / "tuning").resolve()
    where.mkdir(exist_ok=True)
    work = []
    for name, model in variants.items():
        of_variant = dataclasses.replace(config, objective=VariantName.parse(name).objective or config.objective)
        _require_same_search(where / f"{name}.json", _search(of_variant, model, trials))
        work.append((of_variant, functools.partial(_tune, of_variant, name, model, where, trials)))
    tuned = {}
    for done, (name, result) in enumerate(run_all(work, prepared, jobs=jobs, write=write), start=1):
        tuned[name] = result
        write(f"[{done}/{len(variants)}] {name} tuned: {result.text()}")
    return {name: tuned[name] for name in variants}


def _tune(
    config: RunConfig,
    name: str,
    model: ModelConfig,
    where: Path,
    trials: int,
    prepared: Prepared,
    write: Write,
) -> tuple[str, Settings]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with atomic_file(where / f"{name}.json") as partial:
        partial.write_text(json.dumps(_search(config, model, trials), indent=2), encoding="utf-8")
    storage = JournalStorage(JournalFileBackend(str(where / f"{name}.journal")))
    study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, direction="minimize")
    for unfinished in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(unfinished.number, state=optuna.trial.TrialState.FAIL)
    finished = _finished(study)
    if not finished and not study.get_trials(states=(optuna.trial.TrialState.WAITING,)):
        study.enqueue_trial(_defaults(config, model))
    for number in range(len(finished), trials):
        # A sampler of its own for each trial, or one that goes on after a stop would propose the first ones again.
        study.sampler = optuna.samplers.TPESampler(seed=config.training.seed + len(study.trials))
        trial = study.ask()
        label = f"{name}, trial {number + 1}/{trials}, "
        study.tell(trial, _value(trial, config, model, prepared, label, write))
    with atomic_file(where / f"{name}.csv") as partial:
        study.trials_dataframe().to_csv(partial, index=False)
    if not math.isfinite(study.best_value):
        raise InputError(f"none of the {trials} trials of {name} ended with a finite loss")
    chosen, learning_rate = _settings(optuna.trial.FixedTrial(study.best_params), config, model)
    return name, Settings(chosen, learning_rate, study.best_params, study.best_value, len(_finished(study)))


def _search(config: RunConfig, model: ModelConfig, trials: int) -> dict[str, Any]:
    """What a search is asked for, as the plain values that JSON has."""
    asked = {"trials": trials, "model": dataclasses.asdict(model), "training": dataclasses.asdict(config.training)}
    if config.objective is not None:
        asked["objective"] = config.objective
    return dict(json.loads(json.dumps(asked)))


def _require_same_search(path: Path, asked: dict[str, Any]) -> None:
    if path.is_file():
        require_same(path, asked, settled(json.loads(path.read_text(encoding="utf-8"))))


def _finished(study: optuna.Study) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _value(
    trial: optuna.Trial,
    config: RunConfig,
    model: ModelConfig,
    prepared: Prepared,
    label: str,
    write: Write,
) -> float:
    tf.keras.backend.clear_session()  # of the trials before, whose graphs would pile up
    chosen, learning_rate = _settings(trial, config, model)
    if model.name in REFERENCES:
        return reference_loss(chosen, prepared, seed=config.training.seed, label=label, write=write)
    training = dataclasses.replace(config.training, learning_rate=learning_rate)
    tried = dataclasses.replace(config, model=chosen, training=training)
    try:
        trained = train_model(tried, prepared, label=label, write=write)
    except NonFiniteError:
        return math.inf
    value = float(trained.history["val_relative_loss"][trained.best_check - 1])
    return value if math.isfinite(value) else math.inf


def _settings(trial: Suggesting, config: RunConfig, model: ModelConfig) -> tuple[ModelConfig, float]:
    """A trial's model and learning rate; a reference has its own among its settings."""
    if model.name in REFERENCES:
        return reference_settings(trial, model), config.training.learning_rate
    lowest, highest = (factor * config.training.learning_rate for factor in _LEARNING_RATES)
    learning_rate = trial.suggest_float("learning_rate", lowest, highest, log=True)
    width = trial.suggest_categorical("width", list(_WIDTHS))
    arguments = dict(model.arguments)
    for name, units in _widths(model).items():
        wider = [max(1, round(width * n)) for n in np.atleast_1d(units).tolist()]
        arguments[name] = wider[0] if isinstance(units, int) else wider
    method, own = _method(model)
    if method in _METHOD_SPACES:
        arguments["gradient_adjustment"] = own | {"name": method} | _METHOD_SPACES[method](trial)
    return ModelConfig(model.name, arguments), learning_rate


def _defaults(config: RunConfig, model: ModelConfig) -> dict[str, Any]:
    if model.name in REFERENCES:
        return reference_defaults(model)
    method, own = _method(model)
    defaults = _METHOD_DEFAULTS.get(method, {})
    start = {"learning_rate": config.training.learning_rate, "width": 1.0}
    return {**start, **defaults, **{k: v for k, v in own.items() if k in defaults}}


def _widths(model: ModelConfig) -> dict[str, int | Sequence[int]]:
    """The widths of the model's layers, by the argument that sets them."""
    parameters = inspect.signature(model_class(model.name)).parameters
    widths = {name: p.default for name, p in parameters.items() if name.endswith(("_units", "_width"))}
    return {name: model.arguments.get(name, default) for name, default in widths.items()}


def _method(model: ModelConfig) -> tuple[str, dict[str, Any]]:
    """The name of the model's optimisation method and the arguments it is given."""
    own = "htlnet" if model_class(model.name) is HTLNet and "loss_weighting" not in model.arguments else "sum"
    declared = model.arguments.get("gradient_adjustment", own)
    if isinstance(declared, str):
        published = declared == "htlnet" and model.arguments.get("paper", False)
        return declared, {"relative_clip": False} if published else {}
    arguments = dict(declared)
    return arguments.pop("name", "htlnet"), arguments
