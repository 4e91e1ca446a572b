"""The catalogue of data sets, and that what it names ships with the package."""

from __future__ import annotations

import pytest

from htlnet_tf.data.published.catalogue import CATALOGUE, datasets_text
from htlnet_tf.documents import read_yaml
from htlnet_tf.schema import Schema
from tests.conftest import REPO


def test_every_data_set_is_there_once() -> None:
    names = [dataset.name for dataset in CATALOGUE]
    assert names == ["kuairand_pure", "valued_shoppers", "hillstrom", "complete_journey", "generic", "generated"]


@pytest.mark.parametrize("dataset", CATALOGUE, ids=lambda dataset: dataset.name)
def test_its_configuration_ships_and_has_the_funnel(dataset) -> None:  # type: ignore[no-untyped-def]
    config = read_yaml(REPO / "configs" / f"{dataset.config}.yaml")
    assert config["data"]["loader"] == dataset.name
    if dataset.name not in ("generated", "generic"):
        schema = Schema.from_yaml(REPO / "configs" / config["schema"])
        words = [step.split()[0].rstrip(",") for step in dataset.funnel.split(" -> ")]
        assert words == [target.name for target in schema.targets]
        assert f"({schema.core.unit})" in dataset.funnel


def test_the_text_says_everything_within_its_width() -> None:
    text = datasets_text(width=96)
    for dataset in CATALOGUE:
        block = next(b for b in text.split("\n\n") if b.startswith(f"{dataset.name}: "))
        flat = " ".join(block.split())
        for part in (dataset.title, dataset.funnel, dataset.rows, dataset.source, dataset.licence, dataset.citation):
            assert part in flat
        body = block.splitlines()[1:]
        assert all(len(line) <= 96 or "https://" in line for line in body), "only a URL may be longer"


def test_licences_are_said_as_far_as_they_are_known() -> None:
    licences = {dataset.name: dataset.licence for dataset in CATALOGUE}
    assert licences["kuairand_pure"] == "CC BY-SA 4.0"
    assert "not stated" in licences["hillstrom"] and "not stated" in licences["valued_shoppers"]


def test_the_template_shows_every_kind_of_feature_and_target() -> None:
    schema = Schema.from_yaml(REPO / "configs" / "generic.schema.yaml")
    of_columns = {"categorical", "sequence", "numeric", "timestamp", "cross"}
    assert {f.kind for f in schema.features} == {*of_columns, "target_encoding", "count_encoding"}
    assert [t.kind for t in schema.targets] == ["binary", "multiclass", "continuous"]
    config = read_yaml(REPO / "configs" / "generic.yaml")
    assert set(config) == {"data", "schema", "split", "model", "training"}
    assert set(config["data"]) == {"loader", "path", "streaming", "on_bad_rows"}
