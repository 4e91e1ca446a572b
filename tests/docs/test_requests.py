"""Requests of the pages, sent to a server with the demo's kind of model."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from htlnet_tf.data.synthetic import generate_funnel
from tests.docs.blocks import commands, every_block

REQUESTS = [words for block in every_block("bash") for words in commands(block) if words[0] == "curl"]


def bodies() -> list[Any]:
    return [pytest.param(words[1], words[3], id=words[1]) for words in REQUESTS if words[2:3] == ["-d"]]


def test_there_are_some() -> None:
    assert len(bodies()) >= 4


@pytest.mark.parametrize(("address", "body"), bodies())
def test_requests_with_rows(address: str, body: str, url: str) -> None:
    answer = httpx.post(address.replace("http://localhost:8501", url), content=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    sent = json.loads(body)
    if "instances" in sent:
        assert [set(row) for row in found["predictions"]] == [{"click", "purchase", "spend"}] * len(sent["instances"])
    else:
        assert {name: len(values) for name, values in found["outputs"].items()} == {
            "click": 2,
            "purchase": 2,
            "spend": 2,
        }


@pytest.mark.parametrize(("address", "body"), bodies())
def test_requests_name_every_column_in_the_schemas_order(address: str, body: str) -> None:
    features = generate_funnel(1000).schema.features
    sent = json.loads(body)
    names = [feature.name for feature in features]
    for row in sent.get("instances", [sent.get("inputs")]):
        assert set(row) == set(names)
    if sent.get("signature_name") == "candidates":
        shared = {len(sent["inputs"][feature.name]) for feature in features if feature.group != "item"}
        assert shared == {1}
