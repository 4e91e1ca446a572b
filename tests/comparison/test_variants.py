"""Which variants are run, and under which names."""

from __future__ import annotations

import dataclasses

import pytest

import htlnet_tf as htl
from htlnet_tf.comparison.names import VariantName
from htlnet_tf.comparison.runs import Job
from htlnet_tf.comparison.variants import ABLATIONS, METHODS, objective_obstacles, plan, variant, variant_name
from htlnet_tf.gradients import ADJUSTMENTS
from htlnet_tf.judging.references import REFERENCES
from htlnet_tf.models import MODELS
from htlnet_tf.runs.config import DataConfig, ModelConfig, RunConfig, TrainingConfig


def test_models_stand_in_one_table_in_their_order() -> None:
    chosen = plan(["ple", "htlnet+pcgrad", "htlnet"])
    assert list(chosen.variants) == ["ple", "htlnet+pcgrad", "htlnet"]
    assert [table.name for table in chosen.tables] == ["models"]
    assert chosen.variants["ple"] == ModelConfig("ple")
    assert chosen.variants["htlnet+pcgrad"] == ModelConfig("htlnet", {"gradient_adjustment": "pcgrad"})


def test_every_adjustment_and_the_uncertainty_weights_are_methods() -> None:
    assert set(METHODS) == {*ADJUSTMENTS, "uncertainty"}


def test_methods_cross_the_models_that_take_any() -> None:
    chosen = plan(["single_task", "mmoe", "htlnet"], methods=["sum", "htlnet", "cagrad"])
    # A model's own method is that model; a single task has nothing to adjust.
    assert list(chosen.tables[1].rows.values()) == [
        *("mmoe", "mmoe+htlnet", "mmoe+cagrad"),
        *("htlnet", "htlnet+sum", "htlnet+cagrad"),
    ]
    assert list(chosen.variants)[:3] == ["single_task", "mmoe", "htlnet"]


def test_ablations_are_the_paper_s_three_tables_and_share_their_runs() -> None:
    chosen = plan([], ablations=True)
    assert [list(table.rows) for table in chosen.tables] == [
        ["HTLNet", "without architecture", "without optimisation"],
        ["HTLNet", "without representation", "without label embedding", "concat", "without stop-gradient"],
        ["HTLNet", "plain sum", "PCGrad", "MetaBalance"],
    ]
    assert set(chosen.variants) == {"htlnet", "htlnet+sum", "htlnet+pcgrad", "htlnet+metabalance", *ABLATIONS}
    assert chosen.variants["htlnet-architecture"].name == "shared_bottom"


def test_the_configuration_s_arguments_hold_for_its_model_alone() -> None:
    base = ModelConfig("htlnet", {"embedding_dim": 4, "gradient_adjustment": {"gamma": 0.1}})
    chosen = plan(["htlnet", "htlnet+sum", "htlnet-attention", "mmoe"], base=base)
    assert chosen.variants["htlnet"] == base
    assert chosen.variants["htlnet+sum"].arguments == {"embedding_dim": 4, "gradient_adjustment": "sum"}
    assert chosen.variants["htlnet-attention"].arguments == base.arguments | {"fusion": "concat"}
    # Widths that every model has are the same for all, and HTLNet's adjustment is the configured one wherever it works.
    assert chosen.variants["mmoe"].arguments == {"embedding_dim": 4}
    adjusted = plan(["mmoe+htlnet", "htlnet-architecture"], base=base).variants
    assert all(v.arguments == base.arguments for v in adjusted.values())


def test_a_method_stands_in_place_of_the_configured_one() -> None:
    uncertain = ModelConfig("mmoe", {"loss_weighting": "uncertainty", "num_experts": 2})
    chosen = plan(["mmoe", "mmoe+pcgrad", "mmoe+uncertainty"][:2], methods=["uncertainty", "sum"], base=uncertain)
    assert chosen.variants["mmoe"] == uncertain
    assert chosen.variants["mmoe+pcgrad"].arguments == {"num_experts": 2, "gradient_adjustment": "pcgrad"}
    # The model by itself is the one with uncertainty weights, so the plain sum is another variant.
    assert list(chosen.tables[1].rows.values()) == ["mmoe", "mmoe+sum"]
    adjusted = ModelConfig("shared_bottom", {"gradient_adjustment": {"gamma": 0.2}})
    assert list(plan(["shared_bottom"], methods=["htlnet", "sum"], base=adjusted).variants) == [
        *("shared_bottom", "shared_bottom+sum"),
    ]


@pytest.mark.parametrize("name", ["mmoe+sum", "htlnet+htlnet", "shared_bottom+sum"])
def test_a_model_with_its_own_method_is_that_model(name: str) -> None:
    assert variant_name(name, ModelConfig()) == name.partition("+")[0]
    assert list(plan([name]).variants) == [name.partition("+")[0]]


@pytest.mark.parametrize("name", [*MODELS, *ABLATIONS, *(f"htlnet+{method}" for method in METHODS), "mmoe+uncertainty"])
def test_every_variant_can_be_built(name: str, schema: htl.Schema, encoder: htl.FeatureEncoder) -> None:
    from htlnet_tf.runs.building import build_model
    from htlnet_tf.runs.config import DataConfig, RunConfig

    config = RunConfig(DataConfig("generated"), model=variant(name, ModelConfig()))
    assert build_model(config, schema, encoder).schema == encoder.schema


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"models": ["mmoe9"]}, "model 'mmoe9' is not known"),
        ({"models": ["mmoe+adam"]}, "'mmoe\\+adam': method 'adam' is not known; there are .*'pcgrad'"),
        ({"models": ["htlnet-towers"]}, "ablation 'htlnet-towers' is not known; there are .*'htlnet-attention'"),
        ({"models": ["single_task+pcgrad"]}, "single_task shares no parameters"),
        ({"models": ["mmoe", "mmoe"]}, "a model is named twice: \\['mmoe'\\]"),
        ({"models": ["htlnet", "htlnet+htlnet"]}, "a model is named twice: \\['htlnet'\\]"),
        ({"models": [], "methods": ["sum"]}, "at least one model"),
        ({"models": ["mmoe"], "methods": ["sum", "sum"]}, "a method is named twice"),
        ({"models": ["mmoe"], "methods": ["adam"]}, "method 'adam' is not known"),
        ({"models": ["single_task"], "methods": ["sum"]}, "takes an optimisation method"),
        ({"models": []}, "at least one model"),
    ],
)
def test_unknown_names(arguments: dict[str, list[str]], message: str) -> None:
    with pytest.raises(htl.InputError, match=message):
        plan(**arguments)  # type: ignore[arg-type]


def test_a_number_of_members_is_the_last_part_of_a_name() -> None:
    assert VariantName.parse("mmoe+pcgrad@ziln x3") == ("mmoe", "pcgrad", "ziln", 3)
    assert VariantName.parse("htlnet") == ("htlnet", None, None, None)
    assert str(VariantName.parse("htlnet  x12")) == "htlnet x12"
    chosen = plan(["htlnet x3", "htlnet", "mmoe@ziln"], methods=["htlnet", "sum"], objectives=["tweedie"])
    assert chosen.variants["htlnet x3"] == chosen.variants["htlnet"] == ModelConfig("htlnet")
    assert list(chosen.tables[1].rows) == [
        *("htlnet x3", "htlnet+sum x3", "htlnet", "htlnet+sum"),
        *("mmoe@ziln", "mmoe+htlnet@ziln"),
    ]
    assert list(chosen.tables[2].rows) == ["htlnet x3", "htlnet", "htlnet@tweedie x3", "htlnet@tweedie"]
    assert chosen.variants["htlnet+sum x3"].arguments == {"gradient_adjustment": "sum"}
    assert variant_name("htlnet+htlnet x3", ModelConfig()) == "htlnet x3"
    with pytest.raises(htl.InputError, match="'htlnet x0': an ensemble needs at least one member"):
        plan(["htlnet x0"])
    with pytest.raises(htl.InputError, match="a model is named twice"):
        plan(["htlnet x3", "htlnet  x3"])
    with pytest.raises(htl.InputError, match="model 'htlnet y3' is not known"):
        plan(["htlnet y3"])


def test_the_members_of_ensembles_have_seeds_of_their_own() -> None:
    config = RunConfig(DataConfig("generated"), training=TrainingConfig(ensemble=2))

    def seeds(name: str, seed: int) -> list[int]:
        return [member.seed for member in Job.of(config, name, ModelConfig(), seed).config.training.members]

    assert [seeds("htlnet x3", seed) for seed in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert [seeds("htlnet", seed) for seed in range(2)] == [[0, 1], [2, 3]]  # as the configuration has it
    assert [seeds("htlnet x1", seed) for seed in range(2)] == [[0], [1]]
    job = Job.of(config, "htlnet@ziln x3", ModelConfig(), 1)
    assert (job.seed, job.config.objective, job.config.training.seed) == (1, "ziln", 3)


def test_references_stand_in_every_table_but_are_no_models() -> None:
    chosen = plan(["htlnet", "mmoe"], methods=["sum"], objectives=["ziln"], ablations=True, references=True)
    assert chosen.references == tuple(REFERENCES)
    assert all(table.references == tuple(REFERENCES) for table in chosen.tables)
    assert not any(name in REFERENCES for table in chosen.tables for name in table.rows.values())
    # Not crossed with methods or objectives, although `lightgbm@poisson` looks like a model with one.
    assert not [name for name in chosen.variants if name.startswith(("lightgbm+", "glm+", "glm@"))]
    assert chosen.variants["lightgbm"].arguments == REFERENCES["lightgbm"].defaults
    assert chosen.tables[0].labels == {"htlnet": "htlnet", "mmoe": "mmoe", **{name: name for name in REFERENCES}}
    fewer = chosen.without(["glm"])
    assert "glm" not in fewer.variants and "htlnet" in fewer.variants
    assert all("glm" not in table.references and "lightgbm" in table.references for table in fewer.tables)


def test_single_references_are_named_among_the_models() -> None:
    chosen = plan(["htlnet", "lightgbm@tweedie"])
    assert list(chosen.variants) == ["htlnet", "lightgbm@tweedie"]
    assert chosen.tables[0].rows == {"htlnet": "htlnet"}
    assert chosen.references == ("lightgbm@tweedie",)
    assert [table.name for table in plan(["glm"]).tables] == ["models"]
    with pytest.raises(htl.InputError, match=r"a reference is named twice: \['glm'\]"):
        plan(["glm", "glm"])
    with pytest.raises(htl.InputError, match="at least one model is needed"):
        plan(["glm"], methods=["sum"])
    for unknown in ("lightgbm@ziln", "lightgbm+sum", "glm@poisson"):
        with pytest.raises(htl.InputError, match="the references are"):
            plan([unknown])


def test_an_objective_that_the_core_cannot_have_is_an_obstacle(schema: htl.Schema) -> None:
    config = RunConfig(DataConfig(loader="generic"))
    chosen = plan(["htlnet", "mmoe@poisson"], objectives=["poisson", "ziln", "quantile"])
    assert objective_obstacles(chosen.variants, config, schema) == {}
    core = dataclasses.replace(schema.core, objective="ziln", quantiles=(0.5,))
    unfit = objective_obstacles(chosen.variants, config, schema.with_targets((*schema.targets[:-1], core)))
    assert list(unfit) == ["mmoe@poisson", "htlnet@poisson"]
    assert "'poisson' says the expectation alone" in unfit["htlnet@poisson"]
    left = chosen.without(unfit)
    assert list(left.variants) == ["htlnet", "htlnet@ziln", "htlnet@quantile"]
    assert [list(table.rows) for table in left.tables] == [["htlnet"], ["htlnet", "htlnet@ziln", "htlnet@quantile"]]
    negative = dataclasses.replace(schema.core, non_negative=False)
    unfit = objective_obstacles(chosen.variants, config, schema.with_targets((*schema.targets[:-1], negative)))
    assert list(unfit) == ["mmoe@poisson", "htlnet@poisson", "htlnet@ziln"]
