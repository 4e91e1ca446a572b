"""`htlnet rank-search`: on the validation rows of a run, told beside its test rows, written where it was asked to."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
import yaml

import htlnet_tf as htl
from htlnet_tf import cli
from htlnet_tf.data.split_config import TimeSplit
from htlnet_tf.data.splits import Split
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Scored
from htlnet_tf.manifest import record
from htlnet_tf.runs.folder import load_model
from htlnet_tf.runs.rank_search import _on_test, rank_search
from htlnet_tf.schema import Schema
from tests.conftest import BuildOnce

FUNNEL = generate_funnel(4000)
RANKING = htl.Ranking({"click": 0.5, "spend": 1.0})


@pytest.fixture(scope="module")
def saved(build_once: BuildOnce) -> Path:
    """A run of an untrained model, with the rule of a split, beside its rows."""

    def build(folder: Path) -> None:
        schema = dataclasses.replace(FUNNEL.schema, ranking=RANKING)
        tf.keras.utils.set_random_seed(0)
        model = htl.SharedBottom(schema, htl.FeatureEncoder.fit(schema, FUNNEL.frame), tower_units=(4,))
        htl.save_run(model, folder / "run")
        split = Split.fit(TimeSplit(fractions=(0.4, 0.3, 0.3)), schema, FUNNEL.frame)
        split.to_yaml(folder / "run" / "split.yaml")
        FUNNEL.frame.to_parquet(folder / "rows.parquet")

    return build_once("rank_search", build)


def test_the_command(saved: Path, tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["htlnet", "rank-search", str(saved / "run"), "--data", str(saved / "rows.parquet"), "--k", "2"]
    assert cli._main(cli._parse([*words, "--output", str(tmp_path / "out"), "--json"])) == 0
    document = json.loads(capsys.readouterr().out)
    split = Split.from_yaml(saved / "run" / "split.yaml")
    valid = FUNNEL.frame[split.parts(FUNNEL.frame) == 1]
    assert document["rows"]["rows"] == len(valid)
    assert document["rows"]["users_with_more_than_k_rows"] == (valid["user_id"].value_counts() > 2).sum()
    assert "validation part" in document["rows"]["part"]
    table = pd.read_csv(tmp_path / "out" / "rank_search.csv")
    assert len(table) >= 200 and table["is_chosen"].sum() == 1
    assert (tmp_path / "out" / "rank_search.png").exists()
    # The proposal is a line that a schema takes.
    pasted = FUNNEL.schema.to_dict() | yaml.safe_load(document["yaml"])
    assert Schema.from_dict(pasted).ranking == htl.Ranking(document["ranking"])
    names = ["click alone", "the schema's ranking", "proposed"]
    assert list(document["outcomes"]) == list(document["test"]) == names
    assert document["outcomes"]["proposed"]["lost_clicks"] <= 0.02 + 1e-9
    assert document["test"]["click alone"]["lost_clicks"] == 0


def test_the_text(saved: Path, tmp_path: Path, undrawn: None) -> None:
    told: list[str] = []
    found = rank_search(saved / "run", data=saved / "rows.parquet", k=2, output=tmp_path, write=told.append)
    text = found.to_text()
    assert found.line in text.splitlines() and found.line.startswith("ranking: {")
    assert "<- proposed" in text and "test part, which chose nothing" in text
    assert "users have more than k = 2 rows" in text
    assert told[0].startswith("scoring the validation part of the rows of")


def test_an_undefined_ndcg_is_none_in_json(saved: Path, tmp_path: Path, undrawn: None) -> None:
    found = rank_search(saved / "run", data=saved / "rows.parquet", k=2, output=tmp_path, write=lambda _: None)
    nan = float("nan")
    search = dataclasses.replace(
        found.search, tried=found.search.tried.assign(ndcg=nan), by_click=found.search.by_click._replace(ndcg=nan)
    )
    undefined = dataclasses.replace(found, search=search)
    document = json.loads(json.dumps(undefined.to_dict(), allow_nan=False))
    assert document["outcomes"]["click alone"]["ndcg"] is None
    assert {row["ndcg"] for row in document["front"]} == {None}
    assert "weight_spend" in document["front"][0]
    assert "undefined" in undefined.to_text() and "weight_spend" in undefined.to_text()


def test_a_test_part_without_a_click_by_click_says_nothing(
    saved: Path, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rank_search(saved / "run", data=saved / "rows.parquet", k=1, output=tmp_path, write=lambda _: None)
    labels = pd.DataFrame({"click": [0, 1], "purchase": [0, 1], "spend": [0.0, 1.0]})
    predictions = pd.DataFrame({"click": [0.9, 0.1], "purchase": [0.1, 0.1], "spend": [1.0, 1.0]})
    scored = Scored(labels, predictions, pd.Series(["a", "a"]))
    monkeypatch.setattr("htlnet_tf.runs.rank_search._scored", lambda *_: scored)
    _, model = load_model(saved / "run")
    told = _on_test(model, FUNNEL.frame, found.search)
    assert isinstance(told, str) and "the test part says nothing: ranking by 'click' alone has no click" in told


def test_a_run_without_a_rule_says_so(saved: Path, tmp_path: Path, undrawn: None) -> None:
    _, model = load_model(saved / "run")
    htl.save_run(model, tmp_path / "run")
    found = rank_search(tmp_path / "run", data=saved / "rows.parquet", k=5, output=tmp_path, write=lambda _: None)
    assert found.search.rows == len(FUNNEL.frame)
    assert "the run has no rule that splits them" in found.rows
    assert found.test == "no test part: the run has no rule that splits them"


def test_what_is_missing_is_said(saved: Path, tmp_path: Path) -> None:
    def search(**arguments: Any) -> None:
        rank_search(saved / "run", output=tmp_path, write=lambda _: None, **arguments)

    with pytest.raises(InputError, match="needs a path: --data PATH"):
        search()
    FUNNEL.frame[:500].to_parquet(tmp_path / "old.parquet")
    with pytest.raises(InputError, match="is a validation row by the run's split"):
        search(data=tmp_path / "old.parquet")
    with pytest.raises(InputError, match=r"none of the .* users has more than k = 999"):
        search(data=saved / "rows.parquet", k=999)
    with pytest.raises(InputError, match="no run folder"):
        rank_search(tmp_path, write=lambda _: None)


def test_another_ranking_needs_no_training(saved: Path, tmp_path: Path) -> None:
    _, model = load_model(saved / "run")
    htl.save_run(model, tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    document = yaml.safe_load(path.read_text())
    assert document["schema"]["ranking"] == RANKING.to_dict()
    document["schema"]["ranking"] = {"purchase": 2.0, "floor": {"purchase": 0.5}}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError, match=r"config\.yaml' is changed: .*--accept config\.yaml"):
        load_model(tmp_path / "run")
    record(tmp_path / "run", ["config.yaml"])
    _, other = load_model(tmp_path / "run")
    scores, before = (htl.predict(m, FUNNEL.frame[:50]) for m in (other, model))
    pd.testing.assert_frame_equal(scores.drop(columns="score"), before.drop(columns="score"))
    by_hand = scores["purchase"].astype(float).clip(lower=0.5) ** 2
    pd.testing.assert_series_equal(scores["score"].astype(float), by_hand, check_names=False, rtol=1e-6)
