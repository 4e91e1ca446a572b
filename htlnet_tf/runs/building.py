"""Models from their configuration, and the configuration of a model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.errors import InputError
from htlnet_tf.gradients import ADJUSTMENTS, Adjustment
from htlnet_tf.layers.uncertainty_weights import LossWeighting, UncertaintyWeights
from htlnet_tf.models import MODELS, model_class
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.ensemble import Ensemble
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.optimizers import LazyAdam
from htlnet_tf.optimizers.schedules import is_scheduled, learning_rate_schedule
from htlnet_tf.runs.config import ModelConfig, RunConfig, TrainingConfig
from htlnet_tf.schema import Schema


def build_model(config: RunConfig, schema: Schema, encoder: FeatureEncoder) -> MultiTaskModel:
    """Builds and compiles one network to train; arguments and errors are those of `create_model`.

    Of an ensemble's configuration it is a member.
    """
    model = _create_network(config, schema, encoder)
    compile_model(model, config)
    return model


def compile_model(model: ScoringModel, config: RunConfig) -> None:
    """Gives every network of a model the configured optimizer."""
    for member in model.members:
        member.compile(optimizer=_optimizer(config.training, member.encoder.statistics.num_rows))


def _optimizer(training: TrainingConfig, num_rows: int) -> LazyAdam:
    """The configured optimizer; the training rows, which the encoder has counted in a stream too, plan its schedule."""
    rate: Any = training.learning_rate
    if training.schedule is not None:
        steps = training.steps_per_validation(num_rows) * training.validations_per_epoch * training.epochs
        schedule = training.schedule
        rate = learning_rate_schedule(rate, steps, schedule.name, warmup=schedule.warmup, end=schedule.end)
    if training.ema_momentum is None:
        return LazyAdam(rate)
    return LazyAdam(rate, use_ema=True, ema_momentum=training.ema_momentum)


def create_model(config: RunConfig, schema: Schema, encoder: FeatureEncoder) -> ScoringModel:
    """Builds the configured model: one network, or an ensemble of `config.training.ensemble`.

    Raises:
      InputError: The model or one of its arguments is not known, or an argument's value is not allowed.
    """
    if config.training.ensemble == 1:
        return _create_network(config, schema, encoder)
    return Ensemble([_create_network(config, schema, encoder) for _ in range(config.training.ensemble)])


def _create_network(config: RunConfig, schema: Schema, encoder: FeatureEncoder) -> MultiTaskModel:
    """Builds one network of the configured class.

    Raises:
      InputError: The model or one of its arguments is not known, or an argument's value is not allowed.
    """
    arguments, schema = dict(config.model.arguments), config.settled(schema)
    chosen = model_class(config.model.name)
    try:
        if "gradient_adjustment" in arguments:
            arguments["gradient_adjustment"] = _adjustment(arguments["gradient_adjustment"])
        if "loss_weighting" in arguments:
            arguments["loss_weighting"] = _loss_weighting(arguments["loss_weighting"], schema)
        return chosen(schema, encoder, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"model '{config.model.name}', arguments {sorted(arguments)}: {error}") from error


def model_config(model: ScoringModel) -> ModelConfig:
    """The configuration from which `create_model` builds a model again; of an ensemble, that of each member.

    Args:
      model: Of any origin; its arguments are those that its constructor was called with.

    Raises:
      InputError: The model is of a class that no configuration names, or an argument has no form in one; or the members
        of an ensemble differ in class or arguments.
    """
    first, *others = [_network_config(member) for member in model.members]
    for number, other in enumerate(others, start=2):
        # What Keras calls a member is no matter.
        if other.name != first.name or other.arguments | {"name": None} != first.arguments | {"name": None}:
            raise InputError(
                f"a configuration has one model for all members of an ensemble, but member {number} is {other} and the "
                f"first {first}; `htlnet_tf.save_run` keeps each member by itself"
            )
    return first


def _network_config(model: MultiTaskModel) -> ModelConfig:
    name = next((name for name, known in MODELS.items() if known is type(model)), None)
    if name is None:
        raise InputError(f"a {type(model).__name__} is none of the package's models, {sorted(MODELS)}; {_OF_YOUR_OWN}")
    positional, named = model.constructor_arguments
    bound = inspect.signature(type(model).__init__).bind(model, *positional, **named)
    given = {**bound.arguments, **bound.arguments.get("options", {})}
    arguments = {key: given[key] for key in given if key not in ("self", "schema", "encoder", "options")}
    return ModelConfig(name, {key: _declared(key, value) for key, value in arguments.items() if value is not None})


def learning_rate(model: ScoringModel) -> float | None:
    """That of a model's optimizer, of an ensemble the first member's; None if it has none, or a schedule."""
    optimizer = getattr(model.members[0], "optimizer", None)
    rate = getattr(optimizer, "learning_rate", None)
    return float(rate.numpy()) if isinstance(rate, tf.Variable) and not is_scheduled(optimizer) else None


_OF_YOUR_OWN = (
    "`model.save_weights` keeps its weights and `model.encoder.save` its encoder, and your own code builds it again"
)


def _adjustment(declared: Any) -> Adjustment:
    """An adjustment from its name, or from its arguments with a `name` (HTLNet's if there is none)."""
    arguments = {"name": declared} if isinstance(declared, str) else dict(declared)
    name = arguments.pop("name", "htlnet")
    if name not in ADJUSTMENTS:
        raise ValueError(f"gradient_adjustment '{name}' is not known; there are {sorted(ADJUSTMENTS)}")
    return ADJUSTMENTS[name].from_config(arguments)


_LOSS_WEIGHTINGS: dict[str, Callable[[Schema], LossWeighting]] = {"uncertainty": UncertaintyWeights}


def _loss_weighting(declared: Any, schema: Schema) -> LossWeighting:
    """A loss weighting from its name."""
    if declared not in list(_LOSS_WEIGHTINGS):
        raise ValueError(f"loss_weighting '{declared}' is not known; there are {sorted(_LOSS_WEIGHTINGS)}")
    return _LOSS_WEIGHTINGS[declared](schema)


def _declared(name: str, value: Any) -> Any:
    """A constructor's argument as a configuration has it."""
    if isinstance(value, Adjustment):
        kind = next((kind for kind, known in ADJUSTMENTS.items() if known is type(value)), None)
        if kind is not None:
            return {"name": kind, **{key: v for key, v in value.get_config().items() if v is not None}}
    elif isinstance(value, UncertaintyWeights):
        return "uncertainty"
    elif isinstance(value, (list, tuple)):
        return [_declared(name, item) for item in value]
    elif isinstance(value, np.generic):
        return value.item()
    elif isinstance(value, (str, bool, int, float)):
        return value
    raise InputError(f"the model's argument '{name}' is {value!r}, which a configuration cannot say; {_OF_YOUR_OWN}")
