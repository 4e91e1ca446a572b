"""Planted facts are found; expected numbers are counted by hand from how the rows are made."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htlnet_tf.errors import InputError
from htlnet_tf.inspection import Inspection, inspect_rows
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Numeric, Schema, Sequence, Timestamp
from tests.conftest import small_frame

START_MS = 1_650_844_800_000  # 2022-04-25 00:00 UTC
NAMED: dict[str, Any] = {"targets": ["click", "buy", "spend"], "timestamp": "time_ms"}


def planted(num_rows: int = 400) -> pd.DataFrame:
    """`small_frame` with one column of every kind that is to be told apart."""
    random = np.random.default_rng(1)
    frame = small_frame(num_rows)
    frame["time_ms"] = START_MS + np.arange(num_rows) * 86_400_000 // 100  # 100 rows per day
    frame["impression_id"] = [f"i{i:06}" for i in range(num_rows)]
    frame["row"] = np.arange(num_rows)
    frame["country"] = "DE"
    frame["day"] = 20_220_425 + np.arange(num_rows) // 100
    frame["basket_total"] = np.where(frame["buy"] == 1, frame["spend"], -random.random(num_rows))  # a leak
    frame["receipt"] = np.where(frame["buy"] == 1, random.choice(["a", "b"], num_rows), None)  # missing unless bought
    frame["is_like"] = (random.random(num_rows) < 0.1).astype(int)
    frame["history"] = [",".join(map(str, random.integers(0, 9, 12 + i % 9))) for i in range(num_rows)]
    frame["genres"] = [["x|y", "y|z|x", "z", "x"][i % 4] for i in range(num_rows)]
    frame["age_range"] = [["(0,10]", "(10,50]", "[50,100)"][i % 3] for i in range(num_rows)]
    frame["stock"] = np.where(np.arange(num_rows) % 10 == 0, -1, random.integers(100, 900, num_rows))
    return frame


def chunks(frame: pd.DataFrame, bounds: list[int]) -> list[pd.DataFrame]:
    edges = [0, *sorted(bounds), len(frame)]
    return [frame.iloc[a:b] for a, b in itertools.pairwise(edges)]


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    return inspect_rows(planted(), **NAMED)


def test_kinds_are_told_apart(inspection: Inspection) -> None:
    features = {f.name: f for f in inspection.propose_schema().inputs}
    expected = {
        "user_id": Categorical("user_id", group="user", dtype="string"),
        "item_id": Categorical("item_id", dtype="int64"),
        "tag": Categorical("tag", dtype="string", separator=","),
        "age": Numeric("age"),
        "tab": Categorical("tab", group="context", dtype="int64"),
        "genres": Categorical("genres", dtype="string", separator="|"),
        "age_range": Categorical("age_range", dtype="string"),
        "stock": Numeric("stock", missing_values=(-1.0,)),
        "time_ms": Timestamp("time_ms", unit="ms"),
    }
    assert {name: features[name] for name in expected} == expected
    assert isinstance(features["history"], Sequence)
    assert features["history"].max_length == 20  # lengths 12 .. 20 in turn: only the longest covers 95 %
    assert isinstance(features["price"], Numeric)
    assert set(features) == {*expected, "history", "price"}


def test_what_is_left_out_and_why(inspection: Inspection) -> None:
    reasons = {name: p.reason for name, p in inspection.proposals.items() if p.role == "left out"}
    assert set(reasons) == {"impression_id", "row", "country", "day", "basket_total", "receipt", "is_like"}
    assert "no value occurs twice" in reasons["impression_id"]
    assert "no value occurs twice" in reasons["row"]
    assert "constant: 'DE'" in reasons["country"]
    assert "YYYYMMDD" in reasons["day"]
    assert "leakage suspect" in reasons["basket_total"]
    assert "leakage suspect: alone it predicts buy with AUC 1.000" in reasons["receipt"]
    assert "outcome" in reasons["is_like"]
    text = inspection.to_text()
    assert all(reason in text for reason in reasons.values())


def test_leakage_suspects_carry_their_number(inspection: Inspection) -> None:
    found = {(s.column, s.target): s for s in inspection.suspects}
    assert {column for column, _ in found} == {"basket_total", "receipt"}
    assert (found["basket_total", "buy"].value, found["basket_total", "buy"].by) == (1.0, "value")
    assert (found["receipt", "buy"].value, found["receipt", "buy"].by) == (1.0, "missingness")


def test_labels_violations_and_duplicates_by_hand() -> None:
    frame = pd.DataFrame(
        {
            "u": ["a", "b", "a", "c", "b", "a"],
            "click": [1, 0, 0, 1, 0, np.nan],
            "buy": [0, 1, 0, 1, 0, 1],
            "spend": [0.0, 3.0, 2.0, 5.0, 3.0, 0.0],
        }
    )
    frame = pd.concat([frame, frame.iloc[[1, 3]]])
    # click: 1 0 0 1 0 - 0 1; buy: 0 1 0 1 0 1 1 1; spend: 0 3 2 5 3 0 3 5
    found = inspect_rows(frame, targets=["click", "buy", "spend"])
    click, buy, spend = found.targets
    assert (click.known, click.missing, click.mean) == (7, 1, pytest.approx(3 / 7))
    assert (buy.known, buy.mean, buy.rate_given_previous) == (8, 5 / 8, pytest.approx(2 / 3))
    assert spend.mean == pytest.approx(21 / 8)
    assert (spend.minimum, spend.maximum, spend.zero_share, spend.negative_share) == (0.0, 5.0, 2 / 8, 0.0)
    assert spend.std == pytest.approx(np.std([0, 3, 2, 5, 3, 0, 3, 5]))
    assert spend.quantiles is not None
    assert spend.quantiles[0.5] == 3.0
    rows = {(v.earlier, v.later): (v.rows, v.first) for v in found.violations}
    assert rows == {("click", "buy"): (2, 1), ("click", "spend"): (4, 1), ("buy", "spend"): (2, 2)}
    d = found.duplicates
    assert (d.rows, d.compared, d.first, d.first_repeats) == (2, 8, 6, 1)


def test_rows_per_day(inspection: Inspection) -> None:
    frame = planted()
    assert inspection.days is not None
    assert [(d.day, d.rows) for d in inspection.days.days] == [(f"2022-04-{25 + i}", 100) for i in range(4)]
    assert inspection.days.days[1].means["click"] == pytest.approx(frame["click"].iloc[100:200].mean())
    assert inspection.days.undated == 0


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "datetime", "text"])
def test_times_in_every_form_give_the_same_days(unit: str) -> None:
    frame = planted(200).drop(columns="day")
    times = pd.to_datetime(frame.pop("time_ms"), unit="ms").astype("datetime64[ns]")
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
    if unit in factor:
        frame["event_time"] = times.astype("int64") // factor[unit]
    else:
        frame["event_time"] = times if unit == "datetime" else times.astype(str)
    found = inspect_rows(frame, targets=NAMED["targets"], timestamp="event_time" if unit == "text" else None)
    assert found.timestamp == "event_time"
    assert found.days is not None
    assert [(d.day, d.rows) for d in found.days.days] == [("2022-04-25", 100), ("2022-04-26", 100)]
    if unit in factor:
        assert found.propose_schema().feature("event_time") == Timestamp("event_time", unit=unit)  # type: ignore[arg-type]


def test_many_days_are_shortened_in_the_middle() -> None:
    frame = small_frame(500)
    frame["time_ms"] = START_MS + np.arange(500) * 86_400_000 // 10
    text = inspect_rows(frame, **NAMED).to_text()
    assert "50 days" in text
    assert "36 days" in text  # 7 at either end are shown
    assert "2022-05-01" in text
    assert "2022-05-02" not in text


@settings(max_examples=25)
@given(bounds=st.lists(st.integers(0, 120), max_size=5))
def test_a_stream_says_what_one_frame_says(bounds: list[int]) -> None:
    frame = planted(120)
    whole = inspect_rows(frame, **NAMED).to_dict()
    assert_close(inspect_rows(iter(chunks(frame, bounds)), **NAMED).to_dict(), whole)


def test_chunks_may_differ_in_dtype() -> None:
    frame = planted(120)
    frame.loc[100:, "item_id"] = np.nan
    whole = inspect_rows(frame, **NAMED).to_dict()
    parts = chunks(frame, [60])
    parts[0] = parts[0].assign(
        item_id=parts[0]["item_id"].astype("Int64"),
        user_id=parts[0]["user_id"].astype("category"),
        tag=parts[0]["tag"].astype(object),
        click=parts[0]["click"].astype(bool),
    )
    parts[1] = parts[1].assign(click=parts[1]["click"].astype(float))
    found = inspect_rows(parts, **NAMED).to_dict()
    columns = {c["name"]: c for c in found["columns"]}
    assert columns["item_id"]["dtype"] == "int64"
    assert_close(found, whole)


def test_the_sample_is_uniform_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htlnet_tf.inspection.sample.MAX_SAMPLED_ROWS", 500)
    frame = small_frame(5000)
    whole = inspect_rows(frame, **NAMED)
    assert whole.sampled_rows == 500
    assert "uniform sample of 500 rows" in whole.to_text()
    assert_close(inspect_rows(chunks(frame, [7, 1000, 4000]), **NAMED).to_dict(), whole.to_dict())
    # time_ms runs from 0 to 5 million; the mean of 500 uniform draws is off by 0.065 million (one standard deviation).
    times = inspect_rows(frame.assign(spend=frame["time_ms"]), **NAMED).targets[-1].quantiles
    assert times is not None
    assert times[0.5] == pytest.approx(2.5e6, abs=0.5e6)


def test_counts_beyond_their_bounds_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htlnet_tf.inspection.profile.MAX_DISTINCT", 50)
    monkeypatch.setattr("htlnet_tf.inspection.profile.MAX_COUNTED", 3)
    frame = small_frame(400).assign(item_id=np.arange(400) % 100, tab=np.arange(400) % 50)
    found = inspect_rows(chunks(frame, [10, 300]), **NAMED)
    item = found.profiles["item_id"]
    assert (item.distinct, item.distinct_is_exact) == (50, False)
    assert item.counts == {0: 4, 1: 4, 2: 4}
    assert (found.profiles["tab"].distinct, found.profiles["tab"].distinct_is_exact) == (50, True)
    assert ">= 50" in found.to_text()
    hashed = found.propose_schema().feature("item_id")
    assert isinstance(hashed, Categorical)
    assert hashed.encoding == "hash"


def test_large_ids_stay_apart() -> None:
    ids = np.array([2**60 + i for i in range(100)] * 2)  # float64 cannot tell these apart
    frame = small_frame(200).assign(item_id=ids)
    found = inspect_rows(frame, **NAMED)
    assert found.profiles["item_id"].distinct == 100
    assert list(found.profiles["item_id"].counts)[:2] == [2**60, 2**60 + 1]


def test_a_column_of_lists() -> None:
    frame = small_frame(200)
    frame["seen"] = [[str(j % 7) for j in range(i % 30)] for i in range(200)]
    frame["topics"] = [["a", "b"][: i % 3] for i in range(200)]
    found = inspect_rows(frame, **NAMED)
    schema = found.propose_schema()
    assert found.profiles["topics"].missing == 67  # i = 0, 3, .. 198: the empty list
    assert schema.feature("topics") == Categorical("topics", dtype="string", separator=",")
    assert isinstance(schema.feature("seen"), Sequence)


def test_a_funnel_is_guessed_and_said_to_be_a_guess() -> None:
    frame = planted().rename(columns={"click": "is_click", "buy": "purchased"})
    found = inspect_rows(frame)
    assert found.funnel.origin == "guessed"
    # is_like is rare, but comes without a click as often as not: it is no step.
    assert found.funnel.targets == (Binary("is_click"), Binary("purchased"), Continuous("spend"))
    assert (found.timestamp, found.timestamp_is_guessed) == ("time_ms", True)
    assert "A GUESS" in found.to_text()


def test_without_a_funnel_a_schema_asks_for_targets() -> None:
    frame = small_frame().drop(columns=["click", "buy", "spend"])
    found = inspect_rows(frame)
    with pytest.raises(InputError, match="--targets click,buy,spend"):
        found.propose_schema()
    assert "Funnel: none found" in found.to_text()
    assert found.to_dict()["proposed_schema"] is None


def test_multiclass_steps_and_negative_amounts() -> None:
    frame = small_frame().assign(stage=np.arange(400) % 4, profit=np.arange(400) - 100.0)
    schema = inspect_rows(frame, targets=["stage", "profit"], timestamp="time_ms").propose_schema()
    assert schema.targets == (Multiclass("stage", num_classes=4), Continuous("profit", non_negative=False))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["click"], "at least one step"),
        (["click", "nothing"], r"lacks the columns \['nothing'\]"),
        (["price", "spend"], "'price' stands before the core target"),
        (["click", "user_id"], "'user_id' must hold numbers"),
    ],
)
def test_impossible_targets(targets: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        inspect_rows(small_frame(), targets=targets)


def test_parts_with_other_columns_and_no_rows() -> None:
    frame = small_frame()
    with pytest.raises(InputError, match=r"from row 400 on, not: \['tab'\]"):
        inspect_rows([frame, frame.drop(columns="tab")])
    with pytest.raises(InputError, match=r"log\.csv has no rows"):
        inspect_rows([frame.iloc[:0]], source="log.csv")
    with pytest.raises(InputError, match="has no rows"):
        inspect_rows([])


def test_against_a_schema(schema: Schema) -> None:
    frame = planted()
    frame.loc[3, "click"] = 7
    found = inspect_rows(frame, schema=schema)
    assert found.targets[0].invalid == 1
    assert (found.targets[0].invalid_first, found.targets[0].invalid_value) == (3, "7")
    text = found.to_text()
    assert "Not in the schema: impression_id, row, country" in text
    declared = {c["name"]: c["declared"] for c in found.to_dict()["columns"]}
    assert declared["tag"] == "multi-valued ','"
    assert (declared["spend"], declared["time_ms"], declared["row"]) == ("target continuous", "timestamp", None)
    with pytest.raises(InputError, match=r"lacks the columns \['tab'\]"):
        inspect_rows(frame.drop(columns="tab"), schema=schema)
    with pytest.raises(InputError, match="either a schema or these"):
        inspect_rows(frame, schema=schema, targets=["click", "spend"])
    leaking = schema.with_features([*schema.features, Numeric("basket_total")])
    assert (
        "DECLARED AS FEATURES, but they look like outcomes: basket_total"
        in inspect_rows(planted(), schema=leaking).to_text()
    )


def test_the_proposal_survives_yaml(inspection: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    inspection.propose_schema().to_yaml(path)
    assert Schema.from_yaml(path) == inspection.propose_schema()
    path.write_text(inspection.schema_text(), encoding="utf-8")
    assert Schema.from_yaml(path) == inspection.propose_schema()
    line = next(line for line in path.read_text("utf-8").splitlines() if "name: user_id" in line)
    assert "# 20 distinct, 3.5% missing" in line  # rows 5, 34, .. 382: 14 of 400
    assert "statistics: {of: [item_id]}" in path.read_text("utf-8")


def test_statistics_are_of_many_values_with_rows_each(inspection: Inspection) -> None:
    """35 items; users and tags are fewer, and each basket has one row."""
    assert {f.of for f in inspection.propose_schema().history} == {"item_id"}
    assert inspection.proposals["item_id"].statistics and not inspection.proposals["user_id"].statistics
    few = inspect_rows(planted().assign(item_id=np.arange(400) // 2 * 7 + 1), **NAMED)
    assert few.proposals["item_id"].feature is not None
    assert few.propose_schema().history == ()


def test_the_one_column_of_users_is_proposed(inspection: Inspection) -> None:
    assert inspection.propose_schema().user == "user_id"
    frame = planted()
    two = inspect_rows(frame.assign(customerId=frame["user_id"]), **NAMED)
    assert two.propose_schema().user is None
    none = inspect_rows(frame.rename(columns={"user_id": "user_city"}), **NAMED)
    assert none.propose_schema().user is None
    constant = inspect_rows(frame.assign(user_id="u"), **NAMED)
    assert constant.propose_schema().user is None


def test_a_declared_user_is_shown_and_checked(schema: Schema) -> None:
    declared = dataclasses.replace(schema, user="shopper")
    frame = small_frame().assign(shopper=[0.5, *range(399)])
    found = inspect_rows(frame, schema=declared)
    assert {c["name"]: c["declared"] for c in found.to_dict()["columns"]}["shopper"] == "user"
    assert [(b.column, b.rows, b.row) for b in found.broken_rules] == [("shopper", 1, 0)]
    assert inspect_rows(frame.assign(shopper="s"), schema=declared).ok
    with pytest.raises(InputError, match=r"lacks the columns \['shopper'\]"):
        inspect_rows(frame.drop(columns="shopper"), schema=declared)


def test_the_report_is_plain_and_narrow(inspection: Inspection) -> None:
    json.dumps(inspection.to_dict(), allow_nan=False)
    assert max(map(len, inspection.to_text().splitlines())) <= 120


def test_no_tensorflow() -> None:
    from tests.test_imports import run

    result = run("import sys; sys.modules['tensorflow'] = None\nfrom htlnet_tf.inspection import inspect_rows")
    assert result.returncode == 0, result.stderr


def assert_close(found: Any, expected: Any) -> None:
    """Equal, but that sums in another order may differ in the last digits."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_close(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_close(ours, theirs)
    else:
        assert found == (pytest.approx(expected, rel=1e-7, abs=1e-9) if isinstance(expected, float) else expected)
