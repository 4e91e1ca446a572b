"""What is compared: a model by itself, with another optimisation method, or HTLNet with a part taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from htlnet_tf.comparison.names import VariantName
from htlnet_tf.errors import InputError
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.models import ESMM, MODELS, SingleTask, model_class
from htlnet_tf.objectives import OBJECTIVES
from htlnet_tf.runs.config import ModelConfig, RunConfig
from htlnet_tf.schema import Schema

METHODS: dict[str, dict[str, Any]] = {
    "sum": {"gradient_adjustment": "sum"},
    "htlnet": {"gradient_adjustment": "htlnet"},
    "pcgrad": {"gradient_adjustment": "pcgrad"},
    "metabalance": {"gradient_adjustment": "metabalance"},
    "uncertainty": {"gradient_adjustment": "sum", "loss_weighting": "uncertainty"},
    "mgda": {"gradient_adjustment": "mgda"},
    "cagrad": {"gradient_adjustment": "cagrad"},
    "imtl_g": {"gradient_adjustment": "imtl_g"},
    "aligned_mtl": {"gradient_adjustment": "aligned_mtl"},
    "nash_mtl": {"gradient_adjustment": "nash_mtl"},
}
"""Optimisation methods, by the name behind the plus sign of a variant."""

ABLATIONS: dict[str, ModelConfig] = {
    "htlnet-architecture": ModelConfig("shared_bottom", {"gradient_adjustment": "htlnet"}),
    "htlnet-representation": ModelConfig("htlnet", {"use_representation": False}),
    "htlnet-label_embedding": ModelConfig("htlnet", {"use_label_embedding": False}),
    "htlnet-attention": ModelConfig("htlnet", {"fusion": "concat"}),
    "htlnet-stop_gradient": ModelConfig("htlnet", {"stop_gradient": False}),
}
"""HTLNet without a part; a minus sign stands before what is missing. Without its adjustment it is `htlnet+sum`."""

SHARED = ("embedding_dim", "embedding_l2", "on_nonfinite", "dropout")
"""Arguments of the configuration's model that every variant gets: the same widths and the same dropout for all."""

_METHOD_ARGUMENTS = ("gradient_adjustment", "loss_weighting")

SUBJECT = "htlnet"
"""The model that every other one in a table is tested against."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One table of the results.

    Attributes:
      name: For file names.
      title: A heading.
      rows: By the label of a row, the name of its variant.
      references: The names of references, which are rows of their own group.
    """

    name: str
    title: str
    rows: Mapping[str, str]
    references: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """By variant, the label of its row; of references their names."""
        return {variant: label for label, variant in self.rows.items()} | {name: name for name in self.references}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which variants are run, and in which tables they stand.

    Attributes:
      variants: By name, in the order in which they are run.
      tables: In the order in which they are shown.
    """

    variants: Mapping[str, ModelConfig]
    tables: tuple[Table, ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Those of the variants that are no models of this package."""
        return tuple(name for name in self.variants if name in REFERENCES)

    def without(self, names: Collection[str]) -> Plan:
        """The same without some variants, references among them; a table that is left empty is none."""
        kept = tuple(name for name in self.references if name not in names)
        rows = [{label: name for label, name in table.rows.items() if name not in names} for table in self.tables]
        tables = tuple(
            dataclasses.replace(table, rows=left, references=kept)
            for table, left in zip(self.tables, rows, strict=True)
            if left or not table.rows
        )
        return Plan({name: model for name, model in self.variants.items() if name not in names}, tables)


def plan(
    models: Sequence[str],
    *,
    methods: Sequence[str] = (),
    objectives: Sequence[str] = (),
    ablations: bool = False,
    references: bool = False,
    base: ModelConfig | None = None,
) -> Plan:
    """Works out what to run.

    Args:
      models: Names of variants: `mmoe`, `mmoe+pcgrad`, `htlnet-attention`, `htlnet@ziln`, `mmoe+pcgrad@ziln x3`; and of
        references, `lightgbm`, which stand in every table.
      methods: Optimisation methods that each of the models is run with as well, where it takes any.
      objectives: Objectives of the core that each of the models is run with as well, where it has a form for them.
      ablations: Add the paper's Tables 3, 4 and 5.
      references: Add all references.
      base: The arguments of the model that it names hold for that model's variants too.

    Raises:
      InputError: A name is not known or given twice, or nothing is.
    """
    base = base or ModelConfig()
    for asked, known, what in ((methods, sorted(METHODS), "method"), (objectives, sorted(OBJECTIVES), "objective")):
        for name in asked:
            if name not in known:
                raise InputError(f"{what} '{name}' is not known; there are {known}")
    named_references = [name for name in models if name in REFERENCES]
    models = [name for name in models if name not in REFERENCES]
    beside = tuple(REFERENCES) if references else tuple(named_references)
    if not models and (methods or objectives or not (ablations or beside)):
        raise InputError("at least one model is needed")
    named = [variant_name(name, base) for name in models]
    for given, what in (
        (named, "model"),
        (named_references, "reference"),
        (methods, "method"),
        (objectives, "objective"),
    ):
        repeated = sorted({name for name in given if given.count(name) > 1})
        if repeated:
            raise InputError(f"a {what} is named twice: {repeated}")
    tables = [Table("models", "Models", dict(zip(models, named, strict=True)))] if models or not ablations else []
    if methods:
        rows: dict[str, str] = {}
        for model in map(VariantName.parse, named):
            if model.method is None and takes_methods(model.stem):
                others = (str(model._replace(method=method)) for method in methods)
                rows |= {str(model): str(model)} | {name: name for name in others if variant_name(name, base) == name}
        if not rows:
            raise InputError(f"none of the models {list(models)} takes an optimisation method")
        tables.append(Table("methods", "Optimisation methods (a model by itself: with its own)", rows))
    if objectives:
        without = [name for name in map(VariantName.parse, named) if name.objective is None]
        crossed = [
            name._replace(objective=objective)
            for name in without
            for objective in objectives
            if takes_objective(name.stem, objective)
        ]
        rows = {str(name): str(name) for name in (*without, *crossed)}
        tables.append(Table("objectives", "Objectives of the core", rows))
    if ablations:
        tables += _paper_tables(base)
    tables = [dataclasses.replace(table, references=beside) for table in tables]
    names = dict.fromkeys([*(name for table in tables for name in table.rows.values()), *beside])
    return Plan({name: variant(name, base) for name in names}, tuple(tables))


def variant(name: str, base: ModelConfig) -> ModelConfig:
    """The model of a variant's name.

    Widths and strengths that every model has (`SHARED`) are those of `base` for every variant; its other arguments hold
    where it names the variant's model, and those of its gradient adjustment wherever that one is at work.

    Raises:
      InputError: The name is not known.
    """
    if name in REFERENCES:
        return ModelConfig(name, dict(REFERENCES[name].defaults))
    stem, method, objective, _ = VariantName.parse(name)
    if stem in REFERENCES:
        raise InputError(f"'{name}': the references are {list(REFERENCES)}, which take no method, objective or members")
    if objective is not None and objective not in OBJECTIVES:
        raise InputError(f"'{name}': objective '{objective}' is not known; there are {sorted(OBJECTIVES)}")
    if objective is not None and not takes_objective(stem, objective):
        raise InputError(f"'{name}': {stem} has no form for the objective '{objective}'")
    if stem in ABLATIONS:
        model = ABLATIONS[stem]
    elif "-" in stem:
        raise InputError(f"ablation '{stem}' is not known; there are {sorted(ABLATIONS)}")
    else:
        model_class(stem)
        model = ModelConfig(stem)
    of_base = base.name == model.name
    arguments = {key: value for key, value in base.arguments.items() if of_base or key in SHARED} | model.arguments
    if method is not None:
        if method not in METHODS:
            raise InputError(f"'{name}': method '{method}' is not known; there are {sorted(METHODS)}")
        if not takes_methods(stem):
            raise InputError(f"'{name}': {stem} shares no parameters, so there is no method to choose")
        # A method stands in place of the configuration's, whichever of the two arguments says that.
        arguments = {key: value for key, value in arguments.items() if key not in _METHOD_ARGUMENTS} | METHODS[method]
    if arguments.get("gradient_adjustment") == own_method(base.name, base):
        arguments["gradient_adjustment"] = base.arguments.get("gradient_adjustment", arguments["gradient_adjustment"])
    return ModelConfig(model.name, arguments)


def variant_name(name: str, base: ModelConfig) -> str:
    """The one name of a variant that several names mean: a model with the method that is its own is that model."""
    read = VariantName.parse(name)
    if read.is_reference:
        return name  # which has no method
    return str(read._replace(method=None) if read.method == own_method(read.stem, base) else read)


def takes_objective(stem: str, objective: str) -> bool:
    """Whether a model has a form for an objective of the core."""
    return MODELS.get(stem) is not ESMM or OBJECTIVES[objective]().can_be_given


def objective_obstacles(names: Iterable[str], config: RunConfig, schema: Schema) -> dict[str, str]:
    """Which variants have an objective that the core cannot have, and why.

    Args:
      names: Of variants.
      config: Whose objective holds where a name has none.
      schema: Declares the core: whether it may be negative, and whether it has quantiles.
    """
    found = {}
    for name in names:
        objective = VariantName.parse(name).objective
        if objective is not None:
            try:
                dataclasses.replace(config, objective=objective).settled(schema)
            except InputError as error:
                found[name] = str(error)
    return found


def own_method(stem: str, base: ModelConfig) -> str:
    """The method of a model that is named without one: the configuration's if it names that model, else its own."""
    usual = "htlnet" if stem == SUBJECT or stem in ABLATIONS else "sum"
    if stem != base.name:
        return usual
    if base.arguments.get("loss_weighting"):
        return str(base.arguments["loss_weighting"])
    declared = base.arguments.get("gradient_adjustment", usual)
    return str(declared if isinstance(declared, str) else declared.get("name", "htlnet"))


def takes_methods(stem: str) -> bool:
    """Whether a model has shared parameters for an optimisation method to work on."""
    return MODELS.get(stem) is not SingleTask


def _paper_tables(base: ModelConfig) -> list[Table]:
    whole = {"HTLNet": SUBJECT}

    def others(methods: Mapping[str, str]) -> dict[str, str]:
        names = {label: variant_name(f"{SUBJECT}+{method}", base) for label, method in methods.items()}
        return {label: name for label, name in names.items() if name != SUBJECT}

    return [
        Table(
            "ablation",
            "Table 3 of the paper: without architecture, without optimisation",
            whole | {"without architecture": "htlnet-architecture"} | others({"without optimisation": "sum"}),
        ),
        Table(
            "ablation_architecture",
            "Table 4 of the paper: parts of the architecture",
            whole
            | {
                "without representation": "htlnet-representation",
                "without label embedding": "htlnet-label_embedding",
                "concat": "htlnet-attention",
                "without stop-gradient": "htlnet-stop_gradient",
            },
        ),
        Table(
            "ablation_optimisation",
            "Table 5 of the paper: other methods in place of the adjustment",
            whole | others({"plain sum": "sum", "PCGrad": "pcgrad", "MetaBalance": "metabalance"}),
        ),
    ]
