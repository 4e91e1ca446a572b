"""One YAML per experiment: where the rows come from, the schema, the model and the training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.documents import read_yaml, validate
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Where the rows come from.

    Args:
      loader: `"generated"` or `"kuairand_pure"`.
      path: The folder to load; the command line's `--data` stands in for it.
      num_rows: Rows to generate.
      seed: Of the generator.
    """

    loader: Literal["generated", "kuairand_pure"]
    path: str | None = None
    num_rows: int = Field(default=300_000, ge=1000)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Which model, and its arguments beside schema and encoder.

    Args:
      name: A key of `htlnet_tf.models.MODELS`.
      arguments: Keyword arguments of the model. `gradient_adjustment` is `"htlnet"`, `"sum"`, `"pcgrad"` or
        `"metabalance"`, or a mapping of its arguments with such a `name` (HTLNet's if there is none).
    """

    name: str = "htlnet"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class TrainingConfig:
    """How to train; the same for every model that is compared.

    Args:
      epochs: At most this many.
      batch_size: Rows per step.
      learning_rate: Of `LazyAdam`.
      patience: Epochs without a better validation loss before training stops; the best epoch's weights are kept.
      seed: Of the initial weights, the order of the rows and the Gumbel noise.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    patience: int = Field(default=1, ge=0)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, config=_STRICT)
class RunConfig:
    """Everything that a run needs.

    Args:
      data: Where the rows come from.
      schema: The declared columns; None for the generated rows, which bring their own.
      split: Shares of the training, validation and test rows, in order of time.
      model: Which model.
      training: How to train.
    """

    data: DataConfig
    schema: Schema | None = None
    split: tuple[
        Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)], Annotated[float, Field(gt=0, lt=1)]
    ] = (0.8, 0.1, 0.1)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _split_is_whole(self) -> RunConfig:
        if abs(sum(self.split) - 1.0) > 1e-9:
            raise ValueError(f"split: the shares must sum to 1, received {list(self.split)}")
        return self

    @classmethod
    def from_yaml(cls, path: str | Path) -> RunConfig:
        """Reads a configuration file. `schema` may be the path of a schema file, relative to the configuration.

        Raises:
          InputError: The file is missing, is not YAML, or breaks a rule; the message names the field.
        """
        document = read_yaml(path)
        if isinstance(document, dict) and isinstance(document.get("schema"), str):
            document = document | {"schema": Schema.from_yaml(Path(path).parent / document["schema"])}
        return validate(_ADAPTER, document, source=str(path))

    def with_data(self, path: str | Path | None) -> RunConfig:
        """The same configuration with the data at `path`, made absolute; itself for None."""
        if path is None:
            return self
        return dataclasses.replace(self, data=dataclasses.replace(self.data, path=str(Path(path).resolve())))

    def to_yaml(self) -> str:
        """The configuration as YAML text, the schema included."""
        document = _ADAPTER.dump_python(self, mode="json", exclude={"schema"})
        if self.schema is not None:
            document["schema"] = self.schema.to_dict()
        return yaml.safe_dump(document, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)


def shipped(name: str) -> Path:
    """The path of a configuration that ships with the package, e.g. `"generated"`.

    Raises:
      InputError: There is none of that name.
    """
    folder = Path(str(resources.files("htlnet_tf.configs")))
    names = sorted(p.stem for p in folder.glob("*.yaml") if not p.stem.endswith(".schema"))
    if name not in names:
        raise InputError(f"no configuration '{name}'; there are {names}")
    return folder / f"{name}.yaml"


def find_config(name: str) -> RunConfig:
    """Reads a configuration by path, or by name if it ships with the package.

    Raises:
      InputError: There is none, or it breaks a rule.
    """
    return RunConfig.from_yaml(name if name.endswith((".yaml", ".yml")) or Path(name).is_file() else shipped(name))


def load_rows(config: RunConfig) -> tuple[pd.DataFrame, Schema]:
    """The rows and their schema.

    Raises:
      InputError: The data cannot be read, or no schema is declared for them.
    """
    return _LOADERS[config.data.loader](config)


def _generated(config: RunConfig) -> tuple[pd.DataFrame, Schema]:
    from htlnet_tf.data.synthetic import generate_funnel

    if config.data.path is not None:
        raise InputError(f"the loader 'generated' reads no data, but a path was given: '{config.data.path}'")
    funnel = generate_funnel(config.data.num_rows, seed=config.data.seed)
    return funnel.frame, config.schema or funnel.schema


def _kuairand_pure(config: RunConfig) -> tuple[pd.DataFrame, Schema]:
    from htlnet_tf.data.kuairand import load_kuairand_pure

    if config.data.path is None:
        raise InputError("the loader 'kuairand_pure' needs a folder: --data PATH, or data.path in the configuration")
    if config.schema is None:
        raise InputError("the loader 'kuairand_pure' needs a schema in the configuration")
    return load_kuairand_pure(config.data.path, config.schema), config.schema


_LOADERS: dict[str, Callable[[RunConfig], tuple[pd.DataFrame, Schema]]] = {
    "generated": _generated,
    "kuairand_pure": _kuairand_pure,
}

_ADAPTER: TypeAdapter[RunConfig] = TypeAdapter(RunConfig)
