"""One YAML per experiment: where the rows come from, the schema, the model and the training."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
from collections.abc import Sequence
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pydantic
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.data.split_config import SplitConfig, TimeSplit
from htlnet_tf.documents import faults, read_yaml, validate
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.judging.drift_settings import DriftSettings
from htlnet_tf.judging.gate_settings import GateSettings
from htlnet_tf.runs.update.settings import UpdateConfig
from htlnet_tf.schema import Schema
from htlnet_tf.scoring.calibration.settings import CalibrationSettings

if TYPE_CHECKING:
    import pandas as pd

    from htlnet_tf.encoding.encoded import Rows

_STRICT = ConfigDict(extra="forbid")


Loader = Literal["complete_journey", "generated", "generic", "hillstrom", "kuairand_pure", "valued_shoppers"]


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Where the rows come from.

    Args:
      loader: `"generic"` reads the files of any table by the schema alone; the others know a published data set (see
        `htlnet datasets`) or generate rows.
      path: What to load; the command line's `--data` stands in for it. For `"generic"`: a file, a folder or a glob of
        CSV, Parquet or TFRecord files. None for `"complete_journey"`: the files of the installed package.
      streaming: For `"generic"`: read the files anew in each epoch instead of keeping the encoded rows in memory.
      on_bad_rows: For `"generic"`: `"error"` stops at the first row that breaks a rule, `"skip"` leaves such rows out
        and lists them in the run folder.
      num_rows: Rows to generate.
      seed: Of the generator.
      dependence: Of the generated steps, in [0, 1], see `htlnet_tf.data.synthetic.generate_funnel`.
      unit: Of the generated amounts.
    """

    loader: Loader
    path: str | None = None
    streaming: bool = False
    on_bad_rows: Literal["error", "skip"] = "error"
    num_rows: int = Field(default=300_000, ge=1000)
    seed: int = Field(default=0, ge=0)
    dependence: float = Field(default=0.8, ge=0, le=1)
    unit: Literal["EUR", "cent"] = "EUR"

    @model_validator(mode="after")
    def _fits_the_loader(self) -> DataConfig:
        if self.loader != "generated" and (self.dependence != 0.8 or self.unit != "EUR"):
            raise ValueError(f"dependence and unit are for the loader 'generated', not for '{self.loader}'")
        if self.loader != "generic" and (self.streaming or self.on_bad_rows != "error"):
            raise ValueError(f"streaming and on_bad_rows are for the loader 'generic', not for '{self.loader}'")
        return self


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """Which model, and its arguments beside schema and encoder.

    Args:
      name: A key of `htlnet_tf.models.MODELS`.
      arguments: Keyword arguments of the model. `gradient_adjustment` is `"htlnet"`, `"sum"`, `"pcgrad"`,
        `"metabalance"`, `"mgda"`, `"cagrad"`, `"imtl_g"`, `"aligned_mtl"` or `"nash_mtl"`, or a mapping of its
        arguments with such a `name` (HTLNet's if there is none). `loss_weighting` is `"uncertainty"`.
    """

    name: str = "htlnet"
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class ScheduleConfig:
    """How the learning rate moves over all steps of a training, those of `epochs` passes over the training rows.

    Where early stopping ends it sooner, the rest of the schedule is not reached: plan `epochs` accordingly.

    Args:
      name: `"constant"`, `"linear"`, `"cosine"` or `"exponential"`, as the rate falls.
      warmup: Share of the steps in which the rate rises to `learning_rate` before.
      end: The last step's rate, as a share of `learning_rate`.
    """

    name: Literal["constant", "linear", "cosine", "exponential"]
    warmup: float = Field(default=0.0, ge=0, lt=1)
    end: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _has_an_end(self) -> ScheduleConfig:
        if self.name == "exponential" and self.end == 0:
            raise ValueError("an exponential schedule never falls to 0; give the 'end', such as 0.01")
        return self


@dataclass(frozen=True, config=_STRICT)
class TrainingConfig:
    """How to train; the same for every model that is compared.

    Args:
      epochs: At most this many.
      batch_size: Rows per step.
      learning_rate: Of `LazyAdam`.
      schedule: How the learning rate moves, by name or with arguments, `{name: cosine, warmup: 0.05}`; None: not at
        all.
      ema_momentum: Average the weights over the steps: the share of the average that a step leaves, in (0, 1), such as
        0.999. Validation, early stopping and whatever is kept have the averages. None: no average.
      patience: Passes over the training rows without a better validation (the mean of the targets' relative losses, see
        `htlnet_tf.objectives.metrics.RelativeLoss`) before training stops; the weights of the best validation are kept.
      early_stopping: False makes all the `epochs`, whatever the validation says, and keeps the last weights.
      validations_per_epoch: Validate so often in a pass. Early stopping at whole passes is coarse where id embeddings
        begin to overfit in the second one.
      level_share: Fit the level of amounts on the latest share of the training rows in order of time, in (0, 1], which
        the following days are like; None: on all of them. Needs a `timestamp`.
      strategy: `"mirrored"` spreads each step over the GPUs of this machine, `"multi_worker"` over the processes of
        `TF_CONFIG`, each of which runs the same command; `batch_size` is that of all together. `"parameter_server"` has
        the workers of `TF_CONFIG` make steps of their own, of `batch_size` rows each, on tables that lie on its
        parameter servers. `"none"`: none of these.
      shards: Parts that an embedding table is split into, at most, with `"parameter_server"`; None: as many as there
        are parameter servers.
      seed: Of the initial weights, the order of the rows and the Gumbel noise.
      ensemble: Models to train, with the seeds `seed`, `seed + 1`, ...; each stops by its own validation, and what is
        judged, saved and exported is the one model whose predictions are their mean, see `htlnet_tf.models.Ensemble`.
        1: a single model.
      checkpoint_minutes: Between checkpoints, of which there is one after each validation too; a training that was
        killed goes on from the last one.
      deterministic: Let every operation of TensorFlow give the same bits each time, in this process from then on, at
        some cost.
      mlflow: The URI of an MLflow tracking server, or local store, that `htlnet train` logs the run to; None: nowhere.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1024, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: ScheduleConfig | None = None
    ema_momentum: float | None = Field(default=None, gt=0, lt=1)
    patience: int = Field(default=1, ge=0)
    early_stopping: bool = True
    validations_per_epoch: int = Field(default=1, ge=1)
    level_share: float | None = Field(default=None, gt=0, le=1)
    strategy: Literal["none", "mirrored", "multi_worker", "parameter_server"] = "none"
    shards: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    ensemble: int = Field(default=1, ge=1)
    checkpoint_minutes: float = Field(default=5.0, ge=0)
    deterministic: bool = False
    mlflow: str | None = Field(default=None, min_length=1)

    @property
    def members(self) -> list[TrainingConfig]:
        """The training of each member, a single model with a seed of its own."""
        return [dataclasses.replace(self, seed=self.seed + i, ensemble=1) for i in range(self.ensemble)]

    def steps_per_validation(self, num_rows: int) -> int:
        """Steps from one validation to the next: the part of a pass over so many training rows, at least 1."""
        return max(1, round(math.ceil(num_rows / self.batch_size) / self.validations_per_epoch))

    @model_validator(mode="after")
    def _shards_are_on_servers(self) -> TrainingConfig:
        if self.shards is not None and self.strategy != "parameter_server":
            raise ValueError(f"shards are for the strategy 'parameter_server', not for '{self.strategy}'")
        return self

    @field_validator("schedule", mode="before")
    @classmethod
    def _by_name(cls, schedule: Any) -> Any:
        return {"name": schedule} if isinstance(schedule, str) else schedule


@dataclass(frozen=True, config=_STRICT)
class RunConfig:
    """Everything that a run needs.

    Args:
      data: Where the rows come from.
      schema: The declared columns; None for the generated rows, which bring their own.
      standardise: Stands in for the core target's `standardise` in the schema; None: as the schema says.
      objective: Stands in for the core target's `objective`, likewise.
      split: Which rows train, validate and test, see `htlnet_tf.data.split_config`; a list of three numbers is short
        for such shares in order of time.
      model: Which model.
      training: How to train.
      calibration: How to calibrate the trained model on the validation rows, `{}` for the defaults; None: not at all.
      drift: From where on `htlnet drift` calls later rows other rows.
      gate: By how much the model may be worse than the one in service for `htlnet gate`.
      update: How the run goes on with further days, `htlnet update`.
    """

    data: DataConfig
    schema: Schema | None = None
    standardise: bool | None = None
    objective: str | dict[str, Any] | None = None
    split: SplitConfig = TimeSplit(fractions=(0.8, 0.1, 0.1))
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    calibration: CalibrationSettings | None = None
    drift: DriftSettings = field(default_factory=DriftSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    update: UpdateConfig = field(default_factory=UpdateConfig)

    @field_validator("split", mode="before")
    @classmethod
    def _shares_in_order_of_time(cls, split: Any) -> Any:
        return {"by": "time", "fractions": split} if isinstance(split, (list, tuple)) else split

    @classmethod
    def from_yaml(cls, path: str | Path, changes: Sequence[str] = ()) -> RunConfig:
        """Reads a configuration file. Paths in it (`data.path`, and `schema` if it is a file) are relative to it.

        Args:
          path: The file.
          changes: Settings in place of the file's, each `field=value`, `field` with dots (`training.epochs=3`,
            `model.arguments.embedding_dim=16`) and `value` in YAML.

        Raises:
          InputError: The file is missing, is not YAML, or breaks a rule; the message names the field.
        """
        document = read_yaml(path)
        for change in changes:
            change_setting(document, change, source=str(path))
        if isinstance(document, dict) and isinstance(document.get("schema"), str):
            document = document | {"schema": Schema.from_yaml(local_path(path).parent / local_path(document["schema"]))}
        source = f"{path} with {', '.join(changes)}" if changes else str(path)
        config: RunConfig = validate(_ADAPTER, document, source=source)
        data = config.data.path
        return config.with_data(local_path(path).parent / local_path(data) if data else None)

    def with_data(self, path: str | Path | None) -> RunConfig:
        """The same configuration with the data at `path`, made absolute; itself for None."""
        if path is None:
            return self
        return dataclasses.replace(self, data=dataclasses.replace(self.data, path=str(local_path(path).resolve())))

    def settled(self, schema: Schema) -> Schema:
        """A schema with this configuration's `standardise` and `objective`.

        Raises:
          InputError: The objective is not known, or is not for such amounts.
        """
        core = schema.core
        try:
            if self.standardise is not None:
                core = dataclasses.replace(core, standardise=self.standardise)
            if self.objective is not None:
                core = dataclasses.replace(core, objective=self.objective)
        except pydantic.ValidationError as error:
            raise InputError(f"target '{core.name}': {faults(error)}") from error
        return schema.with_targets((*schema.targets[:-1], core))

    def to_yaml(self) -> str:
        """The configuration as YAML text, the schema included."""
        document = _ADAPTER.dump_python(self, mode="json", exclude={"schema"}, exclude_none=True)
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


def find_config(name: str, changes: Sequence[str] = ()) -> RunConfig:
    """Reads a configuration by path, or by name if it ships with the package.

    Args:
      name: The path or the name.
      changes: As for `RunConfig.from_yaml`.

    Raises:
      InputError: There is none, or it breaks a rule.
    """
    path = name if name.endswith((".yaml", ".yml")) or local_path(name).is_file() else shipped(name)
    return RunConfig.from_yaml(path, changes)


def change_setting(document: Any, change: str, *, source: str) -> None:
    """Puts `field=value` into a document that was read from `source`.

    Raises:
      InputError: The change is not written so, or a field that it names has no fields of its own.
    """
    field_name, equals, text = change.partition("=")
    *parents, last = field_name.split(".")
    try:
        value = _number(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"'{change}': the value is not YAML: {error}") from error
    if not equals or not all((*parents, last)):
        raise InputError(f"a change is written field=value, with dots in the field; received '{change}'")
    for parent in parents:
        if not isinstance(document, dict):
            break
        if document.get(parent) is None:
            document[parent] = {}
        document = document[parent]
    if not isinstance(document, dict):
        raise InputError(f"'{change}': in {source}, '{'.'.join(parents)}' has no fields of its own")
    document[last] = value


class LoadedRows(NamedTuple):
    """What a configuration loads.

    Attributes:
      rows: A frame or a stream of files.
      schema: Declares their columns.
      truth: What no model can beat, with the index of `rows` and a column per target: of generated rows, the true
        probabilities and expectations. None where it is not known.
    """

    rows: Rows
    schema: Schema
    truth: pd.DataFrame | None


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e9 for a text: it wants 1.0e+9."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def load_rows(config: RunConfig) -> LoadedRows:
    """The rows with their schema, what the configuration says of its core in it, and the truth where known.

    Raises:
      InputError: The data cannot be read, or no schema is declared for them.
    """
    loader = config.data.loader
    if loader == "generated":
        return _generated(config)
    path = config.data.path
    if path is None and loader not in _FIND_THEIR_FILES:
        raise InputError(f"the loader '{loader}' needs a path: --data PATH, or data.path in the configuration")
    if config.schema is None:
        raise InputError(f"the loader '{loader}' needs a schema in the configuration")
    schema = config.settled(config.schema)
    if loader == "generic" and path is not None:
        from htlnet_tf.data.stream import open_stream

        return LoadedRows(open_stream(path, schema, on_bad_rows=config.data.on_bad_rows), schema, None)
    module, function = _PUBLISHED[loader]
    load = getattr(importlib.import_module(module), function)
    return LoadedRows(load(path, schema), schema, None)


def for_files(config: RunConfig) -> RunConfig:
    """The configuration of generated rows with the loader of files, of any other the configuration itself."""
    return config if config.data.loader != "generated" else dataclasses.replace(config, data=DataConfig("generic"))


def _generated(config: RunConfig) -> LoadedRows:
    from htlnet_tf.data.synthetic import generate_funnel

    if config.data.path is not None:
        raise InputError(f"the loader 'generated' reads no data, but a path was given: '{config.data.path}'")
    data = config.data
    funnel = generate_funnel(data.num_rows, seed=data.seed, dependence=data.dependence, unit=data.unit)
    schema = config.settled(config.schema or funnel.schema)
    # Of a target that counts only after another, or that is no step of this funnel, the truth is not this one.
    known = all(t.name in funnel.truth and t.observed_if is None for t in schema.targets)
    return LoadedRows(funnel.frame, schema, funnel.truth if known else None)


_PUBLISHED: dict[str, tuple[str, str]] = {
    "complete_journey": ("htlnet_tf.data.published.complete_journey", "load_complete_journey"),
    "hillstrom": ("htlnet_tf.data.published.hillstrom", "load_hillstrom"),
    "kuairand_pure": ("htlnet_tf.data.published.kuairand", "load_kuairand_pure"),
    "valued_shoppers": ("htlnet_tf.data.published.valued_shoppers", "load_valued_shoppers"),
}
# Loaders of data that an installed package brings.
_FIND_THEIR_FILES = ("complete_journey",)

_ADAPTER: TypeAdapter[RunConfig] = TypeAdapter(RunConfig)
