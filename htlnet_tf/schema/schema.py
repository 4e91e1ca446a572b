"""Features and targets, declared once; every other part of the package reads them from here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import Field, TypeAdapter, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.documents import read_yaml, validate, yaml_text
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.manifest import require_intact
from htlnet_tf.objectives import Objective, declared
from htlnet_tf.schema.features import Categorical, Feature, Input, TimeFormat, Timestamp
from htlnet_tf.schema.history import CountEncoding, History, HistoryStatistics, TargetEncoding
from htlnet_tf.schema.names import STRICT, DecimalMark, Named, exported_name
from htlnet_tf.schema.ranking import SCORE, Ranking
from htlnet_tf.schema.rules import check_columns, check_quantiles, check_ranking, check_references
from htlnet_tf.schema.targets import Binary, Continuous, Multiclass, Target

NamedT = TypeVar("NamedT", Feature, Target, Continuous)


@dataclass(frozen=True, config=STRICT)
class Schema:
    """What a table of logged impressions holds.

    Args:
      features: The model's inputs, in the order of their slots in the embedding.
      targets: The funnel, in order. The last one is the core target, which is `Continuous`; before it there is at
        least one that is `Binary` or `Multiclass`, and there may be others of every kind.
      timestamp: The column that says when the row was logged, or the name of the `Timestamp` feature that it is; a
        split by time needs it. Any ordered dtype.
      sample_weight: A column of weights >= 0, by which each row's losses are multiplied.
      user: The column that tells users apart, by which group AUC groups; usually a feature. Evaluation alone reads it.
        As for `timestamp`, a feature's name will do.
      delimiter: Between the fields of a CSV file, one character.
      decimal: The decimal mark of numbers that are text, as in CSV files, `"."` or `","`; features and targets may
        declare their own.
      timestamp_format: How the column `timestamp` writes its times, as for `Timestamp`; if that is a feature, the
        feature says it.
      statistics: History statistics in short; they become features, behind the others, and this becomes None.
      ranking: How the predictions of a row become one number to sort by, the output `score`. It is no part of what is
        learned: another one needs no training.

    Raises:
      pydantic.ValidationError: A rule is broken; the message names the field.
    """

    features: tuple[Feature, ...]
    targets: tuple[Target, ...]
    timestamp: str | None = None
    sample_weight: str | None = None
    user: str | None = None
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: DecimalMark = "."
    timestamp_format: TimeFormat | None = None
    statistics: HistoryStatistics | None = None
    ranking: Ranking | None = None

    @field_validator("features", "targets")
    @classmethod
    def _unique(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [item.name for item in items]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must be unique, but these are declared more than once: {repeated}")
        exported: dict[str, str] = {}
        for name in (item.name for item in items if isinstance(item, Named)):
            other = exported.setdefault(exported_name(name), name)
            if other != name:
                raise ValueError(f"'{other}' and '{name}' would have the same name in the exported model")
        return items

    @model_validator(mode="after")
    def _is_a_funnel(self) -> Schema:
        if self.statistics is not None:
            features = self._unique((*self.features, *self.statistics.features(self.targets)))
            object.__setattr__(self, "features", features)
            object.__setattr__(self, "statistics", None)
        if not any(isinstance(f, Categorical) for f in self.features):
            raise ValueError("features: at least one Categorical is needed, the towers share its embedding")
        if len(self.targets) < 2:
            raise ValueError("targets: at least one Binary or Multiclass target and then the core target are needed")
        *preceding, core = self.targets
        if not isinstance(core, Continuous):
            raise ValueError(
                f"targets: the last one is the core target and must be Continuous; '{core.name}' is {core.kind}"
            )
        if all(isinstance(target, Continuous) for target in preceding):
            raise ValueError("targets: at least one Binary or Multiclass target must stand before the core target")
        if [f.name for f in self.inputs] == ["b64"]:
            raise ValueError('features: {"b64": ...} is bytes in a JSON request, so the only column needs another name')
        scores = self.score_columns
        repeated = sorted({name for name in scores if scores.count(name) > 1})
        if repeated:
            raise ValueError(f"targets: the scores of two targets would be called {repeated}")
        check_quantiles(self)
        check_columns(self)
        check_references(self)
        check_ranking(self)
        return self

    @property
    def core(self) -> Continuous:
        """The last target."""
        core = self.targets[-1]
        assert isinstance(core, Continuous)  # checked on construction
        return core

    @property
    def steps(self) -> tuple[Binary | Multiclass, ...]:
        """The targets that are classes, in funnel order."""
        return tuple(t for t in self.targets if not isinstance(t, Continuous))

    @property
    def amounts(self) -> tuple[Continuous, ...]:
        """The targets that are amounts, in funnel order; the core is the last of them."""
        return tuple(t for t in self.targets if isinstance(t, Continuous))

    @property
    def categoricals(self) -> tuple[Categorical, ...]:
        """The categorical features, sequences among them, in schema order."""
        return tuple(f for f in self.features if isinstance(f, Categorical))

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The features that have a raw column, in schema order: all but crosses and history statistics."""
        return tuple(f for f in self.features if isinstance(f, Named))

    @property
    def history(self) -> tuple[History, ...]:
        """The history statistics, in schema order."""
        return tuple(f for f in self.features if isinstance(f, (TargetEncoding, CountEncoding)))

    @property
    def outputs(self) -> dict[str, tuple[str, ...]]:
        """What a model of this schema gives, in the order in which it leaves: by an output's name, which is its key in
        an exported model, the columns that it is in a table of scores.
        """
        outputs: dict[str, tuple[str, ...]] = {}
        for target in self.targets:
            outputs[target.name] = target.score_names
            if isinstance(target, Continuous):
                outputs |= {name: (name,) for name in target.quantile_names}
        return outputs if self.ranking is None else outputs | {SCORE: (SCORE,)}

    @property
    def with_quantiles(self) -> tuple[Continuous, ...]:
        """The amounts that quantiles are declared of, in funnel order."""
        return tuple(target for target in self.amounts if target.quantiles)

    @property
    def exceedance_outputs(self) -> dict[str, tuple[str, str]]:
        """What the signature `exceedance` gives, by target: P(y > t) of the thresholds, and P(y > 0)."""
        return {t.name: (t.name, f"{t.name}_positive") for t in self.with_quantiles}

    @property
    def score_columns(self) -> tuple[str, ...]:
        """The columns of a table of scores."""
        return tuple(name for names in self.outputs.values() for name in names)

    @property
    def weights(self) -> tuple[str, ...]:
        """The columns of sample weights, each once."""
        named = (self.sample_weight, *(t.sample_weight for t in self.targets))
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that training and evaluation read, each once, as the table calls it: inputs, targets, weights,
        timestamp, user.
        """
        others = (name for name in (self.time_column, self.user_source) if name is not None)
        named = (*(f.source for f in self.inputs), *(t.source for t in self.targets), *self.weights, *others)
        return tuple(dict.fromkeys(named))

    def source_of(self, name: str) -> str:
        """What the table calls a column that is named by its feature or target, or as the table does."""
        return next((item.source for item in (*self.inputs, *self.targets) if item.name == name), name)

    def decimal_of(self, item: Feature | Target) -> DecimalMark:
        """The decimal mark of a feature's or target's numbers where they are text."""
        return getattr(item, "decimal", None) or self.decimal

    @property
    def time_column(self) -> str | None:
        """The column of `timestamp`, as the table calls it."""
        return None if self.timestamp is None else self.source_of(self.timestamp)

    @property
    def time_format(self) -> str | None:
        """How `time_column` writes its times; None if not by a format."""
        moments = [f for f in self.inputs if isinstance(f, Timestamp) and f.source == self.time_column]
        return next((f.format for f in moments), self.timestamp_format)

    @property
    def user_source(self) -> str | None:
        """The column of `user`, as the table calls it."""
        return None if self.user is None else self.source_of(self.user)

    @property
    def user_column(self) -> Categorical | None:
        """How the column `user` is read: as the feature that it is, or else as any categorical one."""
        if self.user is None:
            return None
        # What is no input may have a name that an input cannot have; "user" shows in messages only.
        return next((f for f in self.categoricals if f.source == self.user_source), Categorical("user", group="user"))

    def target(self, name: str) -> Target:
        """The target of a name.

        Raises:
          InputError: There is none.
        """
        return _named(self.targets, name, "target")

    def amount(self, name: str) -> Continuous:
        """The amount of a name.

        Raises:
          InputError: There is none.
        """
        return _named(self.amounts, name, "amount")

    def feature(self, name: str) -> Feature:
        """The feature of a name.

        Raises:
          InputError: There is none.
        """
        return _named(self.features, name, "feature")

    def with_features(self, features: Iterable[Feature]) -> Schema:
        """The same schema with other features."""
        return dataclasses.replace(self, features=tuple(features))

    def without_history(self) -> Schema:
        """The same schema without history statistics."""
        return self.with_features(f for f in self.features if f not in self.history)

    def with_targets(self, targets: Iterable[Target]) -> Schema:
        """The same schema with other targets."""
        return dataclasses.replace(self, targets=tuple(targets))

    def with_outputs_of(self, other: Schema) -> Schema:
        """The same features, with what another schema says of the outputs: targets and ranking."""
        return dataclasses.replace(self, targets=other.targets, ranking=other.ranking)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary; fields at their default are left out, `kind` and `name` come first."""
        document: dict[str, Any] = {
            "features": [_declaration(f) for f in self.features],
            "targets": [_declaration(t) for t in self.targets],
        }
        defaults = {"delimiter": ",", "decimal": "."}
        for key in ("timestamp", "timestamp_format", "sample_weight", "user", *defaults):
            if getattr(self, key) != defaults.get(key):
                document[key] = getattr(self, key)
        if self.ranking is not None:
            document["ranking"] = self.ranking.to_dict()
        return document

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "schema") -> Schema:
        """Builds a schema from a plain dictionary.

        Raises:
          InputError: `document` does not describe a schema; the message names `source` and the field.
        """
        return validate(_SCHEMA, document, source=source)

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The schema as YAML text; also written to `path` if one is given."""
        return yaml_text(self.to_dict(), path)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Schema:
        """Reads a schema file.

        Raises:
          InputError: The file is missing, is not YAML, or does not describe a schema.
        """
        return cls.from_dict(read_yaml(path), source=str(path))


def load_schema(path: str | Path) -> Schema:
    """Reads a schema file, or the schema of a run folder.

    Raises:
      InputError: It cannot be read, or does not describe a schema.
    """
    folder = local_path(path)
    if not folder.is_dir():
        return Schema.from_yaml(path)
    source = folder / "config.yaml"
    if not source.is_file():
        raise InputError(f"'{path}' is no run folder: it has no config.yaml")
    require_intact(folder, source.name)
    document = read_yaml(source)
    declared = document.get("schema") if isinstance(document, dict) else None
    if declared is None:
        raise InputError(f"'{path}' is no run folder: its configuration has no schema")
    return Schema.from_dict(declared, source=f"{source}, schema")


def require_same_schema(schema: Schema, fitted: Schema) -> None:
    """Checks that something was fitted for this schema.

    Dtypes that were left open may be settled, and how a target is learned may be another: nothing is counted for it.

    Raises:
      InputError: Names the first column that differs.
    """
    for ours, theirs in zip(schema.features, fitted.features, strict=False):
        settled = ours
        if isinstance(ours, Categorical) and isinstance(theirs, Categorical):
            left_open = [key for key in ("dtype", "encoding", "num_buckets") if getattr(ours, key) is None]
            settled = dataclasses.replace(ours, **{key: getattr(theirs, key) for key in left_open})
        if settled != theirs:
            raise InputError(f"the encoder was fitted for another schema: {theirs} there, {ours} here")
    for target, known in zip(schema.targets, fitted.targets, strict=False):
        if _as_column(target) != _as_column(known):
            raise InputError(f"the encoder was fitted for another schema: {known} there, {target} here")
    if len(schema.features) != len(fitted.features) or len(schema.targets) != len(fitted.targets):
        raise InputError(
            "the encoder was fitted for another schema: "
            f"{[f.name for f in (*fitted.features, *fitted.targets)]} there, "
            f"{[f.name for f in (*schema.features, *schema.targets)]} here"
        )


def _named(items: Sequence[NamedT], name: str, what: str) -> NamedT:
    for item in items:
        if item.name == name:
            return item
    raise InputError(f"no {what} '{name}'; there are {[item.name for item in items]}")


def _as_column(target: Target) -> Target:
    """What a target says of its column, without how it is learned."""
    plain = dataclasses.replace(target, after=None)
    if isinstance(plain, Continuous):
        return dataclasses.replace(plain, objective=None, level=None, standardise=True, quantiles=(), conformal=False)
    return plain


def _declaration(item: Feature | Target) -> dict[str, Any]:
    declaration: dict[str, Any] = {"kind": item.kind, "name": item.name}
    for f in dataclasses.fields(item):
        value = getattr(item, f.name)
        if f.name not in declaration and value != _default_of(f):
            declaration[f.name] = declared(value) if isinstance(value, Objective) else _plain(value)
    return declaration


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _default_of(f: dataclasses.Field[Any]) -> Any:
    # pydantic's Field(default=...) is kept by the standard dataclass machinery as a FieldInfo object.
    return f.default.default if isinstance(f.default, pydantic.fields.FieldInfo) else f.default


_SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)
