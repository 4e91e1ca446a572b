"""docs/serving.md: its requests fit the demo's model, and what it names is there."""

from __future__ import annotations

import json
import re

import yaml

from htlnet_tf.data.synthetic import generate_funnel
from tests.conftest import REPO
from tests.serving.stack import FLAGS

TEXT = (REPO / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_requests_by_curl_fit_the_demos_model() -> None:
    features = generate_funnel(1000).schema.features
    names = [feature.name for feature in features]
    rows, columns, candidates = (json.loads(body) for body in re.findall(r"-d '(\{.*?\})'\n", TEXT, re.S))
    assert all(list(row) == names for row in rows["instances"])
    assert list(columns["inputs"]) == names and {len(values) for values in columns["inputs"].values()} == {2}
    assert candidates["signature_name"] == "candidates" and candidates["inputs"].keys() == set(names)
    for feature in features:
        assert len(candidates["inputs"][feature.name]) == (2 if feature.group == "item" else 1)


def test_flags_and_paths_are_there() -> None:
    assert set(re.findall(r"`--([a-z]+_[a-z_]+)[`=]", TEXT)) <= FLAGS
    paths = set(re.findall(r"(serving/(?:kubernetes/\w+|config/[\w.]+|[\w.-]+))", TEXT))
    assert paths and all((REPO / path).exists() for path in paths)


def test_every_variable_of_the_stack_is_explained() -> None:
    document = (REPO / "serving" / "docker-compose.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(document)
    assert all(f"`{name}" in TEXT or f"`{name}=" in TEXT for name in set(re.findall(r"\$\{(\w+)", document)))
