"""The page of a run, read back from its HTML."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.page.facts import RunFacts
from htlnet_tf.page.render import render
from htlnet_tf.page.run_page import run_page
from htlnet_tf.page.sections.serving import requests
from tests.page.pages import NASTY, Read, inputs, read, report, run_facts, schema


@pytest.fixture(scope="module")
def page() -> Read:
    return read(render(run_page(inputs())))


def test_numbers_are_read_back(page: Read) -> None:
    click = {row[0]: row[1:] for row in page.tables["click (binary)"]}
    assert click["metric"] == ["this model", "mean"]
    assert click["AUC ↑"] == ["0.7123", "0.5000"]
    spend = {row[0]: row[1:] for row in page.tables["spend (continuous, the core)"]}
    assert spend["NRMSE ↓"] == ["0.9123", "1.0010"]
    assert spend["RMSE (EUR <b>) ↓"] == ["1,234.5", "1,234.5"]
    assert spend["Spearman ↑"] == ["undefined", "undefined"]
    assert "all predictions are <1>" in page.text
    parts = page.tables["Rows by part"]
    assert [row[:2] for row in parts[1:]] == [["training", "8,000"], ["validation", "1,000"], ["test", "1,000"]]
    assert "2023-11-14 22:13 UTC" in parts[1][3]
    groups = page.tables["click"]  # of the calibration
    assert groups[1][1:4] == ["100", "0.05000", "0.00000"]
    assert page.tables["Calibration error on the test rows"][1] == ["click", "0.0321", "0.0123"]
    assert page.tables["Test rows below the predicted quantiles"][1] == ["spend P90", "90.0\u00a0%", "87.7\u00a0%"]
    tops = page.tables["Share of the total in the top of the rows; lift: over that of a random choice"]
    assert tops[2][2] == "20.0\u00a0%"
    single = page.tables["Single columns"]
    assert single[0][2:] == ["click: AUC", "spend: NRMSE"]
    assert single[2] == [NASTY, "item", "+0.0500", "+0.0500"]
    features = page.tables["Features"]
    assert features[1] == ["user_id", "user", "categorical", "0.0\u00a0%", "6.2\u00a0%", "0.3000"]
    assert "another population" in page.text
    assert "12,345" in page.text
    assert "1.2 MB" in page.text


def test_what_data_say_is_text(page: Read) -> None:
    html = render(run_page(inputs()))
    assert html.count("</script>") == 1
    assert "<b>" not in html
    assert page.headings[0] == (1, f"HTLNet on {NASTY}")
    assert any(NASTY in code for code in page.codes)


def test_it_loads_nothing_and_stands_in_order(page: Read) -> None:
    assert {"link", "img", "iframe"} & set(page.tags) == {"link"}  # the empty icon
    addresses = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action")]
    assert all(str(value).startswith(("#", "data:,")) for value in addresses)
    assert "url(" not in render(run_page(inputs()))
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.links == [f"#{name}" for name in page.ids]
    assert len(set(page.ids)) == len(page.ids)


def test_pictures_say_what_they_show(page: Read) -> None:
    titles = list(page.charts)
    assert all(titles)
    assert all(tags[1] == "title" for tags in page.charts.values())
    reliability = next(tags for says, tags in page.charts.items() if says.startswith("click: ECE 0.0123"))
    assert reliability.count("circle") == 10
    norm = next(tags for says, tags in page.charts.items() if says.startswith("gradient norm"))
    assert norm.count("polyline") == 2


def test_requests_are_ready_to_paste(page: Read) -> None:
    rows, candidates, *_ = [code for code in page.codes if code.startswith("curl ")]
    command = shlex.split(rows)
    assert command[1] == "http://localhost:8501/v1/models/htlnet:predict"
    body = json.loads(command[-1])
    assert body["instances"][0] == {"user_id": "it's 0", "size": "ü</script>", "price": 0.1, "feature_0": 1}
    body = json.loads(shlex.split(candidates)[-1])
    assert {name: len(values) for name, values in body["inputs"].items()} == {
        "user_id": 1,
        "size": 3,
        "price": 3,
        "feature_0": 1,
    }


def test_a_server_gives_all_scores() -> None:
    declared = schema()
    core = dataclasses.replace(declared.core, objective="ziln", quantiles=(0.5,))
    targets = dataclasses.replace(declared, targets=(*declared.steps, core), ranking=htl.Ranking({"click": 1.0}))
    page = read(render(run_page(inputs(schema=targets))))
    assert "Every row gets click, spend, spend_p50, score." in page.text


def test_a_request_with_gaps_is_said_as_servers_read_it() -> None:
    rows = pd.DataFrame({"user_id": [None], NASTY: ["a"], "price": [float("nan")], "feature_0": [None]})
    (body,) = list(requests(schema(), rows).values())[:1]
    assert '"user_id": ""' in body
    assert '"price": NaN' in body
    assert '"feature_0": -9223372036854775808' in body


def test_rows_that_are_not_the_schemas_have_no_requests() -> None:
    page = read(render(run_page(inputs(held_out=pd.DataFrame({"other": [1]})))))
    assert "No example requests" in page.text
    assert not [code for code in page.codes if code.startswith("curl ")]


def test_an_old_folder_gives_what_is_there_and_says_what_is_missing() -> None:
    nothing = dict.fromkeys(("facts", "history", "gradients", "out_of_vocabulary", "split", "held_out", "servable"))
    page = read(render(run_page(inputs(**nothing))))
    assert page.tables["click (binary)"][0] == ["metric", "this model"]
    for missing in ("page.json", "calibration and gains", "importance", "history.csv", "held_out.parquet"):
        assert missing in page.text
    assert "htlnet report 'runs/my run' --data PATH" in page.text
    assert "learning" not in page.ids
    bare = read(render(run_page(inputs(**nothing, report=None))))
    assert "metrics.json" in bare.text
    assert "quality" not in bare.ids
    assert "no " not in " ".join(run_page(inputs()).notices)


def test_two_hundred_features_are_a_small_page() -> None:
    html = render(run_page(inputs(num_features=200)))
    assert len(html.encode()) < 1_000_000
    page = read(html)
    assert len(page.tables["Single columns"]) - 1 == 30
    assert len(page.tables["Single columns, the others"]) - 1 == 170


def test_members_of_an_ensemble_have_their_curves() -> None:
    facts = dataclasses.replace(
        run_facts(), members=(*run_facts().members, dataclasses.replace(run_facts().members[0], seed=1))
    )
    history = pd.concat(
        [pd.DataFrame({"seed": s, "epoch": [1, 2, 3], "val_relative_loss": [0.9, 0.8, 0.7]}) for s in (0, 1)]
    )
    page = read(render(run_page(inputs(facts=facts, history=history))))
    assert len(page.tables["Members of the ensemble"]) == 3
    (curves,) = [says for says in page.charts if says.startswith("relative loss")]
    assert "seed 0" in curves
    assert "seed 1" in curves


def test_facts_survive_their_file(tmp_path: object) -> None:
    path = tmp_path / "page.json"  # type: ignore[operator]
    facts = run_facts()
    path.write_text(facts.to_json())
    assert RunFacts.load(path) == facts
    document = json.loads(facts.to_json())
    path.write_text(json.dumps(document | {"of_a_later_version": 1}))
    assert RunFacts.load(path) == facts
    path.write_text(json.dumps(document | {"format": 99}))
    with pytest.raises(htl.InputError, match="format 99"):
        RunFacts.load(path)
    path.write_text(json.dumps(document | {"rows": 3}))
    with pytest.raises(htl.InputError, match="rows"):
        RunFacts.load(path)
    path.write_text("{")
    with pytest.raises(htl.InputError, match="cannot read"):
        RunFacts.load(path)
    assert RunFacts.load(tmp_path / "none.json") is None  # type: ignore[operator]


def test_undefined_numbers_survive_too(tmp_path: object) -> None:
    path = tmp_path / "page.json"  # type: ignore[operator]
    facts = RunFacts(drift={"a": float("nan")}, trivial={"mean": report().to_dict()})
    path.write_text(facts.to_json())
    loaded = RunFacts.load(path)
    assert loaded is not None
    assert loaded.drift == {"a": None}
    assert loaded.trivial["mean"]["metrics"]["spend"]["spearman"] is None
