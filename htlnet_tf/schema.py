"""Features and targets, declared once; every other part of the package reads them from here."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import KW_ONLY
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import pydantic
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.dataclasses import dataclass

from htlnet_tf.documents import read_yaml, validate
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file

Group = Literal["user", "item", "context"]
CategoricalDtype = Literal["string", "int64"]

# Column names become tensor names in the exported signature, so they keep to what TensorFlow accepts there.
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.][A-Za-z0-9_.\-]*$")]

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


@dataclass(frozen=True, config=_STRICT)
class Categorical:
    """A column of discrete values, each with its own embedding row.

    Args:
      name: Column name in the frame and in the exported signature.
      group: Whom the column belongs to. It decides what a request for many candidates of one user sends once.
      dtype: Type of the raw column, `"string"` or `"int64"`. None: taken from the training rows.
      separator: If given, the column is multi-valued: a string such as `"a,b"` holds several values, whose
        embeddings are averaged. Requires `dtype` `"string"`.
      max_length: The number of values kept of a multi-valued column; further ones are dropped.
      min_count: Values seen fewer times than this in the training rows share the out-of-vocabulary row.
      missing_values: Raw values that stand for "missing", beside NaN, None and the empty string.
    """

    name: ColumnName
    _: KW_ONLY
    group: Group = "item"
    dtype: CategoricalDtype | None = None
    separator: str | None = None
    max_length: int = Field(default=8, ge=1, le=1024)
    min_count: int = Field(default=2, ge=1)
    missing_values: tuple[int | str, ...] = ()
    kind: Literal["categorical"] = "categorical"

    @model_validator(mode="after")
    def _separator_needs_strings(self) -> Categorical:
        if self.separator == "":
            raise ValueError(f"'separator' of feature '{self.name}' must not be the empty string")
        if self.separator is not None and self.dtype == "int64":
            raise ValueError(f"feature '{self.name}' has a separator, so its dtype must be 'string', not 'int64'")
        for code in self.missing_values if self.dtype == "int64" else ():
            if not isinstance(code, int) or not -(2**63) <= code < 2**63:
                raise ValueError(
                    f"feature '{self.name}' has dtype int64, so its missing value {code!r} must be one too"
                )
        return self


@dataclass(frozen=True, config=_STRICT)
class Numeric:
    """A column of numbers, standardised with the mean and standard deviation of the training rows.

    Args:
      name: Column name in the frame and in the exported signature.
      group: Whom the column belongs to, as for `Categorical`.
      log1p: Replace x by log(1 + x) before standardising; the column must not be negative then.
      missing_values: Raw values that stand for "missing", beside NaN and None.
    """

    name: ColumnName
    _: KW_ONLY
    group: Group = "item"
    log1p: bool = False
    missing_values: tuple[float, ...] = ()
    kind: Literal["numeric"] = "numeric"


class _OneOutput:
    """A target whose tower has one output."""

    name: str

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower."""
        return 1

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores."""
        return (self.name,)


@dataclass(frozen=True, config=_STRICT)
class Binary(_OneOutput):
    """A target that happened (1) or did not (0); the model predicts its probability.

    Args:
      name: Column name in the frame and output key of the exported model.
    """

    name: ColumnName
    _: KW_ONLY
    kind: Literal["binary"] = "binary"


@dataclass(frozen=True, config=_STRICT)
class Multiclass:
    """A target with one of K classes, coded 0 .. K-1; the model predicts the K probabilities.

    Args:
      name: Column name in the frame and output key of the exported model.
      num_classes: K, at least 2.
    """

    name: ColumnName
    _: KW_ONLY
    num_classes: int = Field(ge=2)
    kind: Literal["multiclass"] = "multiclass"

    @property
    def num_outputs(self) -> int:
        """Outputs of the target's tower: a logit per class."""
        return self.num_classes

    @property
    def score_names(self) -> tuple[str, ...]:
        """Columns of a table of scores, one per class."""
        return tuple(f"{self.name}_{k}" for k in range(self.num_classes))


@dataclass(frozen=True, config=_STRICT)
class Continuous(_OneOutput):
    """The core target: the amount at the end of the funnel; the model predicts its expectation in its own unit.

    Args:
      name: Column name in the frame and output key of the exported model.
      unit: What one unit of the column is, e.g. `"ms"` or `"EUR"`; used in tables, plots and the run's summary.
      standardise: Train on (y - mean) / std of the training rows. False trains on the raw amounts.
      non_negative: Refuse rows with a negative amount.
    """

    name: ColumnName
    _: KW_ONLY
    unit: str | None = None
    standardise: bool = True
    non_negative: bool = True
    kind: Literal["continuous"] = "continuous"


Feature = Annotated[Union[Categorical, Numeric], Field(discriminator="kind")]
Target = Annotated[Union[Binary, Multiclass, Continuous], Field(discriminator="kind")]


@dataclass(frozen=True, config=_STRICT)
class Schema:
    """What a table of logged impressions holds.

    Args:
      features: The model's inputs, in the order of their slots in the embedding.
      targets: The funnel, in order. The last one is the core target and the only `Continuous` one; those before it
        are `Binary` or `Multiclass`.
      timestamp: The column that says when the row was logged; `time_split` needs it. Any ordered dtype.

    Raises:
      pydantic.ValidationError: A rule is broken; the message names the field.
    """

    features: tuple[Feature, ...]
    targets: tuple[Target, ...]
    timestamp: str | None = None

    @field_validator("features", "targets")
    @classmethod
    def _unique(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [item.name for item in items]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must be unique, but these are declared more than once: {repeated}")
        if "self" in names:
            raise ValueError("a column cannot be called 'self' in an exported model; rename it")
        # TensorFlow makes an exported column's name lower case and its other characters "_".
        exported: dict[str, str] = {}
        for name in names:
            other = exported.setdefault(re.sub(r"[^a-z0-9]", "_", name.lower()), name)
            if other != name:
                raise ValueError(f"'{other}' and '{name}' would have the same name in the exported model")
        return items

    @model_validator(mode="after")
    def _is_a_funnel(self) -> Schema:
        if not any(isinstance(f, Categorical) for f in self.features):
            raise ValueError("features: at least one Categorical is needed, the towers share its embedding")
        if len(self.targets) < 2:
            raise ValueError("targets: at least one Binary or Multiclass target and then the core target are needed")
        *preceding, core = self.targets
        if not isinstance(core, Continuous):
            raise ValueError(
                f"targets: the last one is the core target and must be Continuous; '{core.name}' is {core.kind}"
            )
        for target in preceding:
            if isinstance(target, Continuous):
                raise ValueError(
                    f"targets: only the last one may be Continuous; '{target.name}' stands before '{core.name}'"
                )
        scores = [name for target in self.targets for name in target.score_names]
        repeated = sorted({name for name in scores if scores.count(name) > 1})
        if repeated:
            raise ValueError(f"targets: the scores of two targets would be called {repeated}")
        outcomes = {t.name for t in self.targets}
        for feature in self.features:
            if feature.name in outcomes:
                raise ValueError(f"features: '{feature.name}' is also a target; an outcome cannot be an input")
            if feature.name == self.timestamp:
                raise ValueError(f"features: '{feature.name}' is the timestamp; derive a feature from it instead")
        if self.timestamp in outcomes:
            raise ValueError(f"timestamp: '{self.timestamp}' is also a target")
        return self

    @property
    def core(self) -> Continuous:
        """The last target."""
        core = self.targets[-1]
        assert isinstance(core, Continuous)  # checked on construction
        return core

    @property
    def preceding(self) -> tuple[Binary | Multiclass, ...]:
        """The targets before the core, in funnel order."""
        return tuple(t for t in self.targets if not isinstance(t, Continuous))

    @property
    def categoricals(self) -> tuple[Categorical, ...]:
        """The categorical features in schema order."""
        return tuple(f for f in self.features if isinstance(f, Categorical))

    @property
    def numerics(self) -> tuple[Numeric, ...]:
        """The numeric features in schema order."""
        return tuple(f for f in self.features if isinstance(f, Numeric))

    def with_features(self, features: Iterable[Categorical | Numeric]) -> Schema:
        """The same schema with other features."""
        return dataclasses.replace(self, features=tuple(features))

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary; fields at their default are left out, `kind` and `name` come first."""
        document: dict[str, Any] = {
            "features": [_declaration(f) for f in self.features],
            "targets": [_declaration(t) for t in self.targets],
        }
        if self.timestamp is not None:
            document["timestamp"] = self.timestamp
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
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)
        if path is not None:
            with atomic_file(path) as partial:
                partial.write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_yaml(cls, path: str | Path) -> Schema:
        """Reads a schema file.

        Raises:
          InputError: The file is missing, is not YAML, or does not describe a schema.
        """
        return cls.from_dict(read_yaml(path), source=str(path))


def require_same_schema(schema: Schema, fitted: Schema) -> None:
    """Checks that something was fitted for this schema (dtypes that were left open aside).

    Raises:
      InputError: Names the first column that differs.
    """
    for ours, theirs in zip(schema.features, fitted.features, strict=False):
        settled = ours
        if isinstance(ours, Categorical) and isinstance(theirs, Categorical) and ours.dtype is None:
            settled = dataclasses.replace(ours, dtype=theirs.dtype)
        if settled != theirs:
            raise InputError(f"the encoder was fitted for another schema: {theirs} there, {ours} here")
    if len(schema.features) != len(fitted.features) or schema.targets != fitted.targets:
        raise InputError(
            "the encoder was fitted for another schema: "
            f"{[f.name for f in (*fitted.features, *fitted.targets)]} there, "
            f"{[f.name for f in (*schema.features, *schema.targets)]} here"
        )


def _declaration(item: Categorical | Numeric | Binary | Multiclass | Continuous) -> dict[str, Any]:
    declaration: dict[str, Any] = {"kind": item.kind, "name": item.name}
    for f in dataclasses.fields(item):
        value = getattr(item, f.name)
        if f.name not in declaration and value != _default_of(f):
            declaration[f.name] = list(value) if isinstance(value, tuple) else value
    return declaration


def _default_of(f: dataclasses.Field[Any]) -> Any:
    # pydantic's Field(default=...) is kept by the standard dataclass machinery as a FieldInfo object.
    return f.default.default if isinstance(f.default, pydantic.fields.FieldInfo) else f.default


_SCHEMA: TypeAdapter[Schema] = TypeAdapter(Schema)
