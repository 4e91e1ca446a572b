"""Tables as they come: written dates and amounts, words for labels, names with spaces, totals of the past, leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.labels import read_labels
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.data.stream import open_stream
from htlnet_tf.errors import InputError
from htlnet_tf.inspection import Inspection, inspect_path, inspect_rows
from htlnet_tf.inspection.files import write_config
from htlnet_tf.inspection.forms import find_reading
from htlnet_tf.inspection.names import exported_names
from htlnet_tf.inspection.readings import Puzzle, Reading
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema, Timestamp

ROWS = 2000
STEPS = ["click", "buy", "gmv"]


def funnel(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """Users, items and a funnel of two steps and an amount; further columns as given."""
    random = np.random.default_rng(0)
    click = random.random(rows) < 0.4
    buy = click & (random.random(rows) < 0.4)
    amount = np.where(buy, random.integers(1, 5000, rows) / 100, 0.0)
    frame = pd.DataFrame({"user_id": random.integers(0, 100, rows), "item_id": random.integers(0, 50, rows)})
    for name, values in {"click": click.astype(int), "buy": buy.astype(int), "gmv": amount, **columns}.items():
        frame[name] = values
    return frame


def features(inspection: Inspection) -> dict[str, Any]:
    return {feature.name: feature for feature in inspection.propose_schema().inputs}


def reasons(inspection: Inspection) -> dict[str, str]:
    return {name: p.reason for name, p in inspection.proposals.items() if p.role == "left out"}


def comma(values: Any) -> list[str]:
    return [f"{value:.2f}".replace(".", ",") for value in values]


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Inspection]:
    """A table as a German spreadsheet writes it, and what was found in it."""
    random = np.random.default_rng(1)
    plain = funnel()
    returned = (plain["buy"] == 1) & (random.random(ROWS) < 0.2)
    frame = pd.DataFrame(
        {
            "Kunde Nr.": plain["user_id"],
            "sku": [f"{item:05}" for item in plain["item_id"]],
            "event_time": pd.date_range("2024-05-01", periods=ROWS, freq="9min").strftime("%d.%m.%Y %H:%M"),
            "price": comma(random.integers(100, 9999, ROWS) / 100),
            "search query": random.choice(["red; shoes", 'tv 50"', ""], ROWS),
            "Clicked?": np.where(plain["click"] == 1, "Y", "N"),
            "purchase": plain["buy"] == 1,
            "revenue": comma(np.where(returned, -1.5, plain["gmv"])),
            "returned": returned,
        }
    )
    path = tmp_path_factory.mktemp("german") / "rows.csv"
    frame.to_csv(path, sep=";", index=False)
    return path, inspect_path(path)


def test_a_spreadsheet_is_read_as_it_is_written(german: tuple[Path, Inspection], tmp_path: Path) -> None:
    path, found = german
    schema = found.propose_schema()
    assert schema.targets == (
        Binary("Clicked", column="Clicked?", positive="Y"),
        Binary("purchase"),
        Continuous("revenue", non_negative=False, decimal=","),
    )
    # "returned" makes the revenue negative: an outcome, and no step towards it.
    assert "always happens where it is 1" in reasons(found)["returned"]
    drafted = features(found)
    assert set(drafted) == {"Kunde_Nr", "sku", "event_time", "price", "search_query"}
    assert drafted["Kunde_Nr"] == Categorical("Kunde_Nr", column="Kunde Nr.", dtype="int64")
    assert drafted["sku"] == Categorical("sku", dtype="string")
    assert drafted["price"] == Numeric("price", decimal=",")
    assert drafted["search_query"].column == "search query"
    assert drafted["event_time"] == Timestamp("event_time", format="%d.%m.%Y %H:%M")
    assert (schema.delimiter, schema.timestamp) == (";", "event_time")
    text = found.to_text()
    assert "Fields are separated by ';'" in text
    assert "times of the format '%d.%m.%Y %H:%M'" in text
    assert found.days is not None
    assert found.days.days[0].day == "2024-05-01"

    # What is drafted can be read again, and the table breaks none of it.
    (tmp_path / "s.yaml").write_text(found.schema_text(), encoding="utf-8")
    assert Schema.from_yaml(tmp_path / "s.yaml") == schema
    again = inspect_path(path, schema=tmp_path / "s.yaml")
    assert again.ok
    assert "Rows per day" in again.to_text()
    assert again.to_dict()["ok"]
    assert [target.mean for target in again.targets] == [target.mean for target in found.targets]
    frame = next(iter(open_stream(path, schema)))
    assert raw_features(frame, schema)["price"].min() >= 1
    assert read_labels(frame, schema).values["revenue"].min() == -1.5


def test_a_configuration_is_drafted_too(german: tuple[Path, Inspection], tmp_path: Path) -> None:
    path, found = german
    (tmp_path / "s.yaml").write_text(found.schema_text(), encoding="utf-8")
    write_config(found, tmp_path / "c.yaml", tmp_path / "s.yaml")
    config = RunConfig.from_yaml(tmp_path / "c.yaml")
    assert (config.data.path, config.schema, config.split.by) == (str(path), found.propose_schema(), "time")


def test_a_table_without_times_is_split_at_random(tmp_path: Path) -> None:
    funnel().to_csv(tmp_path / "t.csv", index=False)
    found = inspect_path(tmp_path / "t.csv")
    assert "split: {by: random, fractions: [0.8, 0.1, 0.1]}" in found.schema_text()
    assert "{by: random}" in found.to_text()
    (tmp_path / "s.yaml").write_text(found.schema_text(), encoding="utf-8")
    write_config(found, tmp_path / "c.yaml", tmp_path / "s.yaml")
    assert RunConfig.from_yaml(tmp_path / "c.yaml").split.by == "random"


# ---- steps and leaks


def test_what_comes_before_the_first_step_is_a_step_or_a_leak() -> None:
    plain = funnel()
    shown = ((plain["click"] == 1) | (np.random.default_rng(2).random(ROWS) < 0.5)).astype(int)
    assert [t.name for t in inspect_rows(funnel(expose=shown)).funnel.targets] == ["expose", *STEPS]
    for name in ("expose", "flag_x"):  # once named, others are neither targets nor features
        found = inspect_rows(funnel(**{name: shown}), targets=STEPS)
        assert "never happens without it" in reasons(found)[name]
        assert "--targets" in reasons(found)[name]
        assert name in found.to_text().split("Columns that decide a target")[1]
    # Without a name that says so, it is not taken for a step.
    assert inspect_rows(funnel(flag_x=shown)).funnel.names == tuple(STEPS)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda click, coin: click | coin, "never happens without it"),
        (lambda click, coin: np.where(click | coin, "a", "b"), "never happens where it is 'b'"),
        (lambda click, coin: ~click & coin, "never happens where it is 1"),
        (lambda click, coin: click & coin, "always happens where it is 1"),
        (lambda click, coin: np.where(click & coin, "card", None), "always happens where it is present"),
        (lambda click, coin: np.where(click | coin, 1_714_521_600, np.nan), "never happens without it"),
        (lambda click, coin: np.where(click & coin, np.arange(len(coin)), 0), "always happens where it is above 0"),
        (lambda click, coin: np.where(click | coin, np.arange(len(coin)) + 1, 0), "never happens without it"),
    ],
)
def test_columns_that_decide_a_target_are_no_features(make: Any, reason: str) -> None:
    rows = 4000
    click, coin = funnel(rows)["click"] == 1, np.random.default_rng(3).random(rows) < 0.3
    found = inspect_rows(funnel(rows, extra=make(click.to_numpy(), coin)), targets=STEPS)
    assert reason in reasons(found)["extra"]


def test_what_is_known_before_is_kept() -> None:
    random = np.random.default_rng(4)
    by_user = random.poisson(3, 100), random.gamma(2, 50, 100).round(2), random.random(100) < 0.3
    users = funnel()["user_id"]
    orders, spent, subscribed = (values[users] for values in by_user)
    extra = {"orders": orders, "spent": spent, "subscribed": subscribed.astype(int)}
    extra |= {"is_member": random.random(ROWS) < 0.4, "rare": (random.random(ROWS) < 0.01).astype(int)}
    for targets in (STEPS, None):
        found = inspect_rows(funnel(**extra), targets=targets)
        assert found.funnel.names == tuple(STEPS)
        assert set(features(found)) == {"user_id", "item_id", *extra}
    assert "named like an outcome" in found.schema_text()
    # The same names, of what happened after the impression.
    now = funnel()
    spent = np.where((now["click"] == 1) & (random.random(ROWS) < 0.5), 3.0, 0.0)
    spent[:5] = 1.0  # also a few without a click: no rule without exception
    likes = (random.random(ROWS) < 0.3).astype(int)
    found = inspect_rows(funnel(spent=spent, is_like=likes), targets=STEPS)
    assert "times as often where a target happened" in reasons(found)["spent"]
    assert "an outcome by its name" in reasons(found)["is_like"]


def test_the_longest_chain_is_the_funnel() -> None:
    # A frequent action that belongs to no funnel would leave none of it, if it were taken for the first step.
    follow = (np.random.default_rng(5).random(ROWS) < 0.7).astype(int)
    assert inspect_rows(funnel(follow=follow)).funnel.names == tuple(STEPS)


# ---- how text is read


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("t", ["01.05.2024", "13.05.2024"], Reading("time", "%d.%m.%Y")),
        ("t", ["05/13/2024 10:00", "05/01/2024 11:00"], Reading("time", "%m/%d/%Y %H:%M")),
        ("t", ["13-May-2024", "01-Jun-2024"], Reading("time", "%d-%b-%Y")),
        ("t", ["2024-05-01", "2024-05-02T10:00:00"], Reading("time")),
        ("t", ["2024-05-01 10:00:00+02:00", "2024-05-01 11:00:00Z", "2024-05-02 10:00:00+0200"],
         Reading("time", offset_hours=2.0, offsets=2)),
        ("t", ["01/May/2024:10:00:00 -0330"], Reading("time", "%d/%b/%Y:%H:%M:%S %z", offset_hours=-3.5, offsets=1)),
        ("t", ["20240501", "20240502"], Reading("time", "%Y%m%d")),
        ("price", ["1,5", "12", "-3,25"], Reading("decimal")),
        ("x", ["1,05", "12,5"], Reading("decimal")),
        ("tag", ["1,5", "12", "3,25"], None),
        ("tag", ["1,5", "1,5,7"], None),
        ("x", ["Y", "N"], Reading("flag", positive="Y")),
        ("x", ["nein", "ja"], Reading("flag", positive="ja")),
        ("x", ["J", "N", None], Reading("flag", positive="J")),
        ("x", ["a", "b"], None),
        ("x", ["0", "1"], None),
        ("x", ["12", "13"], None),
        ("x", [None, ""], None),
        ("x", [["a"], ["b"]], None),
    ],
)  # fmt: skip
def test_forms_of_text(name: str, values: list[Any], expected: Reading | None) -> None:
    parts = [pd.Series(values[:1], dtype=object), pd.Series(values, dtype=object)]
    assert find_reading(name, parts, is_label=False) == expected
    if not any(isinstance(value, list) for value in values):
        assert find_reading(name, [pd.Series(values).astype("category")], is_label=False) == expected


def test_text_that_needs_a_hand_gets_a_remedy() -> None:
    prices = [f"{price:,.2f} €" for price in np.arange(1000, 1100)]
    found = find_reading("price", [pd.Series(prices)], is_label=False)
    assert isinstance(found, Puzzle)
    assert "'1,000.00 €': write them as plain numbers" in found.remedy
    both = find_reading("t", [pd.Series(["01/05/2024", "02/05/2024"])], is_label=False)
    assert isinstance(both, Puzzle)
    assert "'%d/%m/%Y' or '%m/%d/%Y'" in both.remedy
    with pytest.raises(InputError, match=r"'status' must hold numbers; .*positive: 'lost' or 'won'"):
        inspect_rows(funnel(status=["lost", "won"] * (ROWS // 2)), targets=["status", "gmv"])
    with pytest.raises(InputError, match="timestamp: 'at': dates of which the day and the month"):
        inspect_rows(funnel(at="01/05/2024"), targets=STEPS, timestamp="at")


def test_a_few_values_of_another_form_are_named() -> None:
    heights = comma(np.arange(ROWS) / 7)
    heights[1500] = "n.v."
    assert "decimal comma but for 'n.v.' (row 1,500" in reasons(inspect_rows(funnel(height=heights)))["height"]
    amounts = comma(funnel()["gmv"])
    amounts[3] = "7.5"
    text = inspect_rows(funnel().assign(gmv=amounts), targets=STEPS).to_text()
    assert "but for '7.5' (row 3" in text


def test_times_keep_their_zone() -> None:
    moments = pd.date_range("2024-01-01", periods=ROWS, freq="2h", tz="Europe/Berlin")
    for values in (moments, moments.strftime("%Y-%m-%dT%H:%M:%S%z")):
        found = inspect_rows(funnel(event_time=values), targets=STEPS)
        # 1,080 of the 2,000 rows are before summer time begins on 31 March.
        assert features(found)["event_time"] == Timestamp("event_time", utc_offset_hours=1.0)
    assert (
        "2 offsets from UTC"
        in inspect_rows(
            funnel(event_time=moments, seen_on=moments), targets=STEPS, timestamp="event_time"
        ).schema_text()
    )
    fixed = moments.tz_convert("Etc/GMT+5").strftime("%d/%m/%Y %H:%M:%S %z")
    assert features(inspect_rows(funnel(event_time=fixed), targets=STEPS))["event_time"] == Timestamp(
        "event_time", format="%d/%m/%Y %H:%M:%S %z", utc_offset_hours=-5.0
    )


def test_days_as_numbers_are_times_where_there_is_nothing_finer() -> None:
    days = pd.date_range("2024-05-01", periods=ROWS, freq="9min").strftime("%Y%m%d").astype(int)
    found = inspect_rows(funnel(day=days), targets=STEPS)
    assert found.propose_schema().timestamp == "day"
    assert features(found)["day"] == Timestamp("day", format="%Y%m%d", parts=("weekday",))
    assert found.days is not None
    assert (found.days.days[0].day, found.days.days[0].rows) == ("2024-05-01", 160)


def test_names_that_a_model_cannot_have_get_another() -> None:
    given = ["user id", "user_id", "Größe", "名前", "self", "class", "class_", "a.b", "a_b", "straße", "_x", "  "]
    assert exported_names(given) == {
        "user id": "user_id_2",
        "user_id": "user_id",
        "Größe": "Grosse",
        "名前": "column_3",
        "self": "self",
        "class": "class",
        "class_": "class__2",
        "a.b": "a.b",
        "a_b": "a_b_2",
        "straße": "strasse",
        "_x": "x",
        "  ": "column_11",
    }
