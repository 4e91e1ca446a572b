"""load_valued_shoppers on made-up purchases in the published layout; every expected number is worked out by hand."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from htlnet_tf.data.published import valued_shoppers
from htlnet_tf.data.published.csv_batches import read_batches
from htlnet_tf.data.published.valued_shoppers import (
    VALUED_SHOPPERS_COMPANIES,
    VALUED_SHOPPERS_OUTCOMES,
    load_valued_shoppers,
)
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema
from tests.conftest import REPO

_TRANSACTIONS = """\
id,chain,dept,category,company,brand,date,productsize,productmeasure,purchasequantity,purchaseamount
11,205,7,707,10000,5,2012-03-01,12,OZ,1,-9.00
11,205,7,707,10000,5,2012-03-10,12,OZ,1,2.50
11,205,9,909,10000,6,2012-03-10,64,CT,3,4.00
11,205,9,910,10000,6,2012-03-10,64,CT,1,-1.00
11,205,5,555,777,8,2012-03-10,0,,1,10.00
11,205,7,707,10000,5,2012-03-11,12,OZ,1,3.00
11,205,7,707,10000,5,2012-06-01,12,OZ,-1,-3.00
11,205,7,707,10000,5,2013-03-10,12,OZ,1,7.00
11,205,7,707,10000,5,2013-03-11,12,OZ,1,50.00
11,205,3,303,103600030,4,2012-06-30,1,LB,2,8.00
22,18,3,303,103600030,4,2012-07-01,1,LB,2,8.00
22,18,3,303,10000,4,2012-05-05,0,,-2,1.25
33,4,3,303,777,4,2012-04-01,1,LB,2,8.00
33,4,3,303,10000,4,2012-04-02,1,LB,2,0.00
"""
_OFFERS = "offer,category,quantity,company,offervalue,brand\n1,9115,1,10000,5,93904\n2,9909,1,10000,0.75,6732\n"
_TRAIN = "id,chain,offer,market,repeattrips,repeater,offerdate\n11,205,1,34,5,t,2013-03-12\n33,4,2,9,0,f,2013-04-05\n"
_TEST = "id,chain,offer,market,offerdate\n22,18,2,39,2012-05-07\n"
_FILES = {"transactions.csv": _TRANSACTIONS, "offers.csv": _OFFERS, "trainHistory.csv": _TRAIN}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in _FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_first_purchases_and_the_year_after(folder: Path) -> None:
    frame = load_valued_shoppers(folder)
    # Customer 11: the return of 2012-03-01 is no purchase. 2012-03-10 + 365 days is 2013-03-10, so 3 + 7 = 10 USD; the
    # 50 USD of the day after are beyond, and the return of June is left out. Company 777 is none of the twenty.
    # Customer 22 bought from 103600030 on 2012-07-01, the first day that is too late; 33 only paid nothing.
    assert frame["customer_id"].tolist() == [11, 11, 22]
    assert frame["company"].tolist() == [10000, 103600030, 10000]
    assert frame["date"].dt.strftime("%Y-%m-%d").tolist() == ["2012-03-10", "2012-06-30", "2012-05-05"]
    assert frame["repurchase"].tolist() == [1, 0, 0]
    assert frame["amount"].tolist() == [10.0, 0.0, 0.0]
    assert frame["repurchase"].dtype == np.int64 and frame["amount"].dtype == np.float64
    assert frame.index.tolist() == [0, 1, 2]


def test_features_are_of_the_first_day_and_its_dearest_line(folder: Path) -> None:
    frame = load_valued_shoppers(folder)
    assert frame["initial_amount"].tolist() == [6.5, 8.0, 1.25]
    assert frame["initial_items"].tolist() == [2, 1, 1]
    assert frame["initial_quantity"].tolist() == [4, 2, 0]  # a purchase of -2 units is an error in the log: 0
    assert frame["basket_amount"].tolist() == [16.5, 8.0, 1.25]  # 2.50 + 4.00 + 10.00 of company 777
    assert frame["basket_items"].tolist() == [3, 1, 1]
    attributes = frame[["chain", "dept", "category", "brand"]].to_numpy().tolist()
    assert attributes == [[205, 9, 909, 6], [205, 3, 303, 4], [18, 3, 303, 4]]
    assert frame["productmeasure"].tolist()[:2] == ["CT", "LB"] and pd.isna(frame["productmeasure"][2])


def test_market_and_followed_days_come_from_the_histories(folder: Path) -> None:
    frame = load_valued_shoppers(folder)
    # The log of 11 ends on 2013-03-11: 366 days after 2012-03-10, cut to 365, and 254 after 2012-06-30.
    assert frame["market"].tolist()[:2] == [34, 34] and frame["market"].isna().tolist() == [False, False, True]
    assert frame["followed_days"].tolist()[:2] == [365, 254] and frame["followed_days"].isna()[2]
    (folder / "testHistory.csv").write_text(_TEST, encoding="utf-8")
    frame = load_valued_shoppers(folder)
    assert frame["market"].tolist() == [34, 34, 39]
    assert frame["followed_days"].tolist() == [365, 254, 1]  # the offer is two days after the purchase


def test_companies_dates_and_window_are_arguments(folder: Path) -> None:
    frame = load_valued_shoppers(folder, companies=[777], first_purchases=("2012-04-01", "2012-04-02"))
    assert frame["customer_id"].tolist() == [33]
    frame = load_valued_shoppers(folder, window_days=1)
    assert frame["amount"].tolist() == [3.0, 0.0, 0.0] and frame["followed_days"].tolist()[:2] == [1, 1]
    frame = load_valued_shoppers(folder, window_days=366)
    assert frame["amount"][0] == 60.0


def test_the_published_companies() -> None:
    assert len(set(VALUED_SHOPPERS_COMPANIES)) == 20


def test_gzip_makes_no_difference(folder: Path) -> None:
    expected = load_valued_shoppers(folder)
    for name, text in _FILES.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        (folder / name).unlink()
    pd.testing.assert_frame_equal(load_valued_shoppers(folder), expected)


def _many_purchases(customers: int, lines: int) -> str:
    rng = random.Random(0)
    rows = [_TRANSACTIONS.splitlines()[0]]
    for customer in rng.sample(range(10_000), customers):
        for _ in range(lines):
            day = np.datetime64("2012-03-02") + rng.randrange(480)
            company = rng.choice([10000, 103600030, 777])
            amount = rng.randrange(-200, 1000) / 100
            rows.append(f"{customer},1,2,3,{company},4,{day},1,OZ,{rng.randrange(-1, 4)},{amount}")
    return "\n".join(rows) + "\n"


def test_batches_do_not_matter_and_agree_with_a_plain_loop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "transactions.csv").write_text(_many_purchases(60, 25), encoding="utf-8")
    whole = load_valued_shoppers(folder)
    # 2,000 bytes are some 45 lines, so that customers go on in the next batch.
    monkeypatch.setattr(valued_shoppers, "read_batches", lambda *a, **k: read_batches(*a, **k, block_bytes=2000))
    pd.testing.assert_frame_equal(load_valued_shoppers(folder), whole)

    log = pd.read_csv(folder / "transactions.csv", parse_dates=["date"])
    log = log[log["purchaseamount"] > 0]
    rows = {}
    for customer, company in log.loc[log["company"] != 777, ["id", "company"]].itertuples(index=False):
        lines = log[(log["id"] == customer) & (log["company"] == company)]
        first = lines["date"].min()
        after = (lines["date"] - first).dt.days.between(1, 365)
        if pd.Timestamp("2012-03-01") <= first < pd.Timestamp("2012-07-01"):
            basket = log.loc[(log["id"] == customer) & (log["date"] == first), "purchaseamount"].sum()
            rows[customer, company] = (first, lines.loc[after, "purchaseamount"].sum(), basket)
    assert len(whole) == len(rows) > 50
    for row in whole.itertuples():
        first, amount, basket = rows[row.customer_id, row.company]
        assert row.date == first
        assert row.amount == pytest.approx(amount) and row.basket_amount == pytest.approx(basket)
        assert row.repurchase == (amount > 0)


# ---- errors


@pytest.mark.parametrize("name", list(_FILES))
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"there is no {name} or {name}.gz in .*published layout"):
        load_valued_shoppers(folder)


def test_what_is_no_folder(folder: Path) -> None:
    with pytest.raises(InputError, match="is not there; the published layout"):
        load_valued_shoppers(folder / "nowhere")
    with pytest.raises(InputError, match="is not a folder"):
        load_valued_shoppers(folder / "offers.csv")


@pytest.mark.parametrize(
    ("name", "column"),
    [("transactions.csv", "purchaseamount"), ("offers.csv", "offervalue"), ("trainHistory.csv", "market")],
)
def test_a_missing_column(folder: Path, name: str, column: str) -> None:
    (folder / name).write_text(_FILES[name].replace(column, "renamed", 1), encoding="utf-8")
    with pytest.raises(InputError, match=f"{name}: column '{column}' must be there once, but is there 0 times"):
        load_valued_shoppers(folder)


@pytest.mark.parametrize("name", list(_FILES))
def test_a_truncated_gzip(folder: Path, name: str) -> None:
    text = _many_purchases(50, 50) if name == "transactions.csv" else _FILES[name]
    packed = gzip.compress(text.encode())
    (folder / name).unlink()
    (folder / f"{name}.gz").write_bytes(packed[: len(packed) - 12])
    with pytest.raises(InputError, match=f"{name}.gz cannot be read .* may be truncated"):
        load_valued_shoppers(folder)


def _swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize("block_bytes", [150, 1 << 20])
@pytest.mark.parametrize(
    ("garble", "parts"),
    [
        (_swap(",3.00\n", ",3.oo\n"), ["'purchaseamount'", "finite number", "line 7", "'3.oo'"]),
        (_swap(",3.00\n", ",inf\n"), ["'purchaseamount'", "finite number", "line 7", "'inf'"]),
        (_swap(",3.00\n", ",\n"), ["'purchaseamount'", "finite number", "line 7", "nothing"]),
        (_swap("2012-03-11", "11.03.2012"), ["'date'", "YYYY-MM-DD", "line 7", "'11.03.2012'"]),
        (_swap("2012-03-11", "2012-02-30"), ["'date'", "YYYY-MM-DD", "line 7", "'2012-02-30'"]),
        (_swap("18,3,303,1036", "18,3,-303,1036"), ["'category'", "must not be negative", "line 12", "'-303'"]),
        (_swap("18,3,303,1036", "18,3,,1036"), ["'category'", "integer", "line 12", "nothing"]),
        (_swap("18,3,303,1036", "18,3,3.5,1036"), ["'category'", "integer", "line 12", "'3.5'"]),
        (_swap("103600030", "99999999999999999999"), ["'company'", "integer", "line 11", "'9999"]),
        (_swap(",2,8.00\n22", "\n22"), ["line 11", "11 fields", "has 9"]),
        (lambda text: text[:-6], ["line 15", "11 fields", "has 10"]),
        (lambda text: text.splitlines()[0] + "\n", ["at least one row"]),
        (lambda _: "", ["column 'id'", "0 times"]),
        (lambda text: text + text.splitlines()[1] + "\n", ["'id'", "stand together", "line 16", "11 again"]),
        (_swap("33,4", "11,4"), ["'id'", "stand together", "line 14", "11 again"]),
    ],
)
def test_a_garbled_transaction_is_named_with_column_and_line(
    folder: Path, garble: Callable[[str], str], parts: list[str], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valued_shoppers, "read_batches", lambda *a, **k: read_batches(*a, **k, block_bytes=block_bytes))
    garbled = garble(_TRANSACTIONS)
    assert garbled != _TRANSACTIONS
    (folder / "transactions.csv").write_text(garbled, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_valued_shoppers(folder)
    for part in ["transactions.csv", *parts]:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


@pytest.mark.parametrize(
    ("name", "garble", "parts"),
    [
        ("offers.csv", _swap("\n2,", "\n1,"), ["'offer'", "unique", "line 3"]),
        ("offers.csv", _swap("0.75", "-0.75"), ["'offervalue'", "line 3", "-0.75"]),
        ("trainHistory.csv", _swap("\n33,", "\n11,"), ["'id'", "unique", "line 3"]),
        ("trainHistory.csv", _swap("4,2,9", "4,3,9"), ["'offer'", "must be in offers.csv", "line 3", "3"]),
        ("trainHistory.csv", _swap("0,f", "-1,f"), ["'repeattrips'", "line 3", "-1"]),
        ("trainHistory.csv", _swap("0,f", "0,no"), ["'repeater'", "one of", "line 3", "'no'"]),
        ("trainHistory.csv", _swap("0,f", "0,t"), ["'repeater'", "'repeattrips'", "line 3", "'t'"]),
        ("trainHistory.csv", _swap("2013-04-05", "soon"), ["'offerdate'", "YYYY-MM-DD", "line 3", "'soon'"]),
    ],
)
def test_a_garbled_small_file(folder: Path, name: str, garble: Callable[[str], str], parts: list[str]) -> None:
    (folder / name).write_text(garble(_FILES[name]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_valued_shoppers(folder)
    for part in [name, *parts]:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


def test_a_customer_in_both_histories(folder: Path) -> None:
    (folder / "testHistory.csv").write_text(_TEST.replace("22,18", "33,18"), encoding="utf-8")
    with pytest.raises(InputError, match=r"customer 33 is in trainHistory\.csv and in testHistory\.csv"):
        load_valued_shoppers(folder)


def test_impossible_arguments(folder: Path) -> None:
    with pytest.raises(InputError, match="two ISO dates"):
        load_valued_shoppers(folder, first_purchases=("March", "April"))
    with pytest.raises(InputError, match="the earlier first"):
        load_valued_shoppers(folder, first_purchases=("2012-04-01", "2012-04-01"))
    with pytest.raises(InputError, match="a window of at least a day"):
        load_valued_shoppers(folder, window_days=0)
    with pytest.raises(InputError, match=r"nobody made a first purchase from the companies \[5\]"):
        load_valued_shoppers(folder, companies=[5])


@pytest.mark.parametrize("name", VALUED_SHOPPERS_OUTCOMES)
def test_an_outcome_is_not_a_feature(folder: Path, name: str) -> None:
    schema = Schema(features=(Categorical("dept"), Numeric(name)), targets=(Binary("a"), Continuous("b")))
    with pytest.raises(InputError, match=f"'{name}' is an outcome"):
        load_valued_shoppers(folder, schema)


def test_the_shipped_schema_fits_the_loader(folder: Path) -> None:
    schema = Schema.from_yaml(REPO / "configs" / "valued_shoppers.schema.yaml")
    frame = load_valued_shoppers(folder, schema)
    assert set(frame) - set(schema.columns) == {"customer_id", "market", "followed_days"}
    assert set(schema.columns) <= set(frame)
