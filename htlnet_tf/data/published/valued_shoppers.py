"""Reads Kaggle's Acquire Valued Shoppers, supermarket purchases, as first purchases and the year after them."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from absl import logging

from htlnet_tf.data.published.csv_batches import read_batches
from htlnet_tf.data.published.tables import find_file, read_table, refuse_outcomes, require
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema

VALUED_SHOPPERS_COMPANIES: tuple[int, ...] = (
    *(10000, 101200010, 101410010, 101600010, 102100020, 102700020, 102840020, 103000030, 103338333, 103400030),
    *(103600030, 103700030, 103800030, 104300040, 104400040, 104470040, 104900040, 105100050, 105150050, 107800070),
)
"""The twenty companies with the most customers, as listed by Wang, Liu and Miao."""

VALUED_SHOPPERS_OUTCOMES: tuple[str, ...] = (
    *("repurchase", "amount", "followed_days"),
    *("offer", "offerdate", "offervalue", "repeater", "repeattrips"),
)
"""What is not known yet on the day of a first purchase, by the names of the loader and of the files: never features."""

_FILES = ("transactions.csv", "offers.csv", "trainHistory.csv")
_TEST_HISTORY = "testHistory.csv"
_LAYOUT = f"the published layout is one folder with {', '.join(_FILES)}, each as it is or as .gz"

_OFFERS = {"offer": "int64", "category": "int64", "quantity": "int64", "company": "int64", "offervalue": "float64"} | {
    "brand": "int64"
}
_HISTORY = dict.fromkeys(("id", "chain", "offer", "market"), "int64") | {"offerdate": "string"}
_TRAIN_HISTORY = _HISTORY | {"repeattrips": "int64", "repeater": "string"}
_IDS = ("id", "chain", "dept", "category", "company", "brand")
_TRANSACTIONS: dict[str, str] = {
    **dict.fromkeys(_IDS, "int64"),
    "date": "date",
    "productmeasure": "string",
    "purchasequantity": "int64",
    "purchaseamount": "float64",
}
_INFINITY = float("inf")
_PAIR = ["id", "company"]
_DAY = ["id", "date"]
_EPOCH = datetime.date(1970, 1, 1)


def load_valued_shoppers(
    path: str | Path,
    schema: Schema | None = None,
    *,
    companies: Collection[int] = VALUED_SHOPPERS_COMPANIES,
    first_purchases: tuple[str, str] = ("2012-03-01", "2012-07-01"),
    window_days: int = 365,
) -> pd.DataFrame:
    """Reads who bought from a company for the first time, whether they came back within a year, and what they spent.

    The competition asked who buys an offered product again, but the purchases after the offer were never published. So
    the funnel repurchase -> amount is built from the purchases before it, as Wang, Liu and Miao do: a row is a customer
    and a company, at the customer's first purchase from it. As there,

    - lines of an amount <= 0 (2 % coupons and 0.1 % returns, entered as lines of their own, and 1.6 % free goods) are
      left out before anything else, so `amount` is gross of them and never negative; it is not clipped,
    - the companies are the twenty with the most customers, and the first purchase lies in March to June 2012. The log
      begins on 2012-03-02, so a first purchase is the first one *seen*, above all in the first weeks,
    - a line's own attributes (chain, dept, category, brand, productmeasure) are those of the dearest line of that day.

    Known on the day, and not used there: the number of units, and the whole basket, all companies together.

    What the published construction passes over: a customer's log ends on the day before the offer, in March to July
    2013, so many windows are shorter than 365 days, and more so the later the first purchase. `followed_days` says how
    long each was; `frame[frame["followed_days"] >= 365]` keeps the whole ones. It is the future, and not a feature.

    `trainHistory.csv` and, if it is there, `testHistory.csv` give `market` and the offer's date for `followed_days`.
    Each lists about half of the customers, by the date of the offer. Without `testHistory.csv` a missing market thus
    tells that the log goes on beyond April 2013: a leak, so use `market` only if both files are there. Of
    `offers.csv` nothing becomes a column: what was offered was chosen after the row's day. It is read to check that
    the files belong together.

    `transactions.csv` (22 GB, 350 million lines) is streamed; in memory are one batch and the rows of the result.

    Args:
      path: The folder that has the files, each as .csv or .csv.gz.
      schema: If given, it is checked that no feature of it is an outcome.
      companies: Ids of the companies that make rows.
      first_purchases: First day and the day after the last one, on which the first purchase may lie; ISO dates.
      window_days: Length of the window of `repurchase` and `amount`; it begins on the day after the first purchase.

    Returns:
      One row per customer and company in the order of the file, index 0 .. n-1, with the columns

      - `customer_id`, `company`, `chain`, `dept`, `category`, `brand` (int64), `productmeasure` (string, missing where
        empty),
      - `initial_amount` (float64, USD), `initial_items` (int64, lines) and `initial_quantity` (int64, units; lines of a
        negative number count as 0) of that company on that day,
      - `basket_amount` (float64, USD) and `basket_items` (int64, lines) of all companies on that day,
      - `market` (Int64) and `followed_days` (Int64, 0 .. `window_days`), missing where the history is,
      - `date` (datetime64[s], the day of the first purchase),
      - the targets `repurchase` (int64, 1: there was a purchase in the window) and `amount` (float64, USD spent in it).

    Raises:
      InputError: A file or a column is missing, a file is truncated or garbled (the message has the file, the line, the
        column and the value), a customer or offer is listed twice, an offer is unknown, the lines of a customer do not
        stand together, nobody bought from `companies` in that time, an argument is impossible, or a feature of
        `schema` is an outcome.

    References:
      Wang, Liu, Miao, "A Deep Probabilistic Model for Customer Lifetime Value Prediction", arXiv:1912.07753, section
      5.1, and its code, https://github.com/google/lifetime_value (notebooks/kaggle_acquire_valued_shoppers_challenge).
      Tang et al., arXiv:2403.17442, name this data set and the targets, but publish no construction.
      https://www.kaggle.com/c/acquire-valued-shoppers-challenge/data
    """
    refuse_outcomes(schema, VALUED_SHOPPERS_OUTCOMES, data="Acquire Valued Shoppers", known_by="the first purchase")
    begin, end = _days(first_purchases)
    if window_days < 1 or not companies:
        raise InputError(
            f"a company and a window of at least a day are needed; received {list(companies)}, {window_days}"
        )
    files = _find_files(local_path(path))
    histories = _read_histories(files)
    wanted = pa.array(sorted(companies), type=pa.int64())
    parts = []
    for block in _customers(files["transactions.csv"]):
        part = _summarise(block, wanted, window_days)
        parts.append(part[part["date"].between(begin, end - 1)])
    frame = pd.concat(parts, ignore_index=True)
    if frame.empty:
        raise InputError(
            f"{files['transactions.csv'].name}: nobody made a first purchase from the companies {sorted(companies)} "
            f"in {first_purchases[0]} <= date < {first_purchases[1]}"
        )
    frame = frame.merge(histories, on="id", how="left")
    followed = (frame.pop("last_day") - frame["date"]).clip(0, window_days)
    frame = frame.assign(
        followed_days=followed.astype("Int64"), date=frame["date"].to_numpy().astype("datetime64[D]").astype("M8[s]")
    )
    last = ["date", "repurchase", "amount"]
    frame = frame[[c for c in frame if c not in last] + last].rename(columns={"id": "customer_id"})
    logging.info(
        "Acquire Valued Shoppers: %d first purchases, %.1f %% came back", len(frame), 100 * frame.repurchase.mean()
    )
    return frame


def _days(dates: tuple[str, str]) -> tuple[int, int]:
    """Days since 1970-01-01 of two ISO dates."""
    try:
        begin, end = ((datetime.date.fromisoformat(text) - _EPOCH).days for text in dates)
    except (TypeError, ValueError) as error:
        raise InputError(f"first_purchases must be two ISO dates; received {dates!r}") from error
    if begin >= end:
        raise InputError(f"first_purchases must be two dates, the earlier first; received {dates!r}")
    return begin, end


def _find_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"'{folder}' is {'not a folder' if folder.exists() else 'not there'}; {_LAYOUT}")
    found = {name: find_file(folder, name) for name in (*_FILES, _TEST_HISTORY)}
    for name in _FILES:
        if found[name] is None:
            raise InputError(f"there is no {name} or {name}.gz in '{folder}'; {_LAYOUT}")
    return {name: file for name, file in found.items() if file is not None}


def _read_histories(files: dict[str, Path]) -> pd.DataFrame:
    """Columns `id`, `market` and `last_day` (Int64, days since 1970): the log ends on the day before the offer."""
    positive = dict.fromkeys(("offer", "category", "company", "brand", "offervalue"), (0, _INFINITY))
    offers = read_table(files["offers.csv"], _OFFERS, key="offer", bounds=positive | {"quantity": (1, _INFINITY)})
    bounds: dict[str, tuple[float, float]] = dict.fromkeys(("id", "chain", "offer", "market"), (0, _INFINITY))
    tables = []
    for name, columns in (("trainHistory.csv", _TRAIN_HISTORY), (_TEST_HISTORY, _HISTORY)):
        if name not in files:
            continue
        train = "repeattrips" in columns
        table = read_table(
            files[name],
            columns,
            key="id",
            bounds=bounds | ({"repeattrips": (0, _INFINITY)} if train else {}),
            choices={"repeater": ("t", "f")} if train else None,
        )
        file = files[name].name
        if train:
            rule = "must be t where 'repeattrips' is positive, and f where it is 0"
            require((table["repeattrips"] > 0) == (table["repeater"] == "t"), table["repeater"], file, rule)
        require(table["offer"].isin(offers["offer"]), table["offer"], file, f"must be in {files['offers.csv'].name}")
        dates = pd.to_datetime(table["offerdate"], format="%Y-%m-%d", errors="coerce")
        require(dates.notna(), table["offerdate"], file, "must be a date, YYYY-MM-DD")
        days = pd.Series(dates.to_numpy().astype("datetime64[D]").astype(np.int64), dtype="Int64")
        tables.append(
            pd.DataFrame({"id": table["id"], "market": table["market"].astype("Int64"), "last_day": days - 1})
        )
    both = pd.concat(tables, ignore_index=True)
    twice = both["id"].duplicated()
    if twice.any():
        raise InputError(f"customer {both['id'][twice].iloc[0]} is in trainHistory.csv and in {_TEST_HISTORY}")
    return both


def _customers(file: Path) -> Iterator[pa.Table]:
    """Yields the lines of whole customers; one customer's lines stand together in the published file."""
    done: set[int] = set()
    open_lines: pa.Table | None = None  # of the last customer so far, who may go on in the next batch
    rows = 0
    for batch in read_batches(file, _TRANSACTIONS, not_negative=_IDS):
        block = batch if open_lines is None else pa.concat_tables([open_lines, batch])
        ids = block["id"].to_numpy()
        starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        for start in starts:
            customer = int(ids[start])
            if customer in done:
                line = rows - (block.num_rows - batch.num_rows) + int(start) + 2
                raise InputError(
                    f"{file.name}: the lines of a customer must stand together, as published; column 'id', line {line} "
                    f"has {customer} again after other customers"
                )
            done.add(customer)
        done.remove(int(ids[-1]))
        rows += batch.num_rows
        logging.log_every_n_seconds(logging.INFO, "%s: %d lines read", 30, file.name, rows)
        if starts[-1] > 0:
            yield block.slice(0, starts[-1])
        open_lines = block.slice(starts[-1])
    assert open_lines is not None  # a file without rows has been refused
    yield open_lines


def _summarise(block: pa.Table, companies: pa.Array, window_days: int) -> pd.DataFrame:
    """The first purchases and their windows of the customers in a block; `date` in days since 1970."""
    bought = block.filter(pc.greater(block["purchaseamount"], 0.0))
    bought = bought.set_column(bought.column_names.index("date"), "date", bought["date"].cast(pa.int32()))
    lines = _frame(bought.filter(pc.is_in(bought["company"], value_set=companies)))
    since = lines["date"] - lines.groupby(_PAIR, sort=False)["date"].transform("min")
    first = lines[since == 0]
    first = first.assign(units=first["purchasequantity"].clip(lower=0))
    rows = first.groupby(_PAIR, as_index=False, sort=False).agg(
        initial_amount=("purchaseamount", "sum"), initial_items=("units", "size"), initial_quantity=("units", "sum")
    )
    dearest = first.sort_values("purchaseamount", ascending=False, kind="stable").drop_duplicates(_PAIR)
    after = lines[since.between(1, window_days)].groupby(_PAIR, as_index=False, sort=False)
    spent = after.agg(amount=("purchaseamount", "sum"))
    baskets = _frame(bought.group_by(_DAY).aggregate([("purchaseamount", "sum"), ("purchaseamount", "count")])).rename(
        columns={"purchaseamount_sum": "basket_amount", "purchaseamount_count": "basket_items"}
    )
    rows = rows.merge(dearest.drop(columns=["purchasequantity", "purchaseamount"]), on=_PAIR, how="left")
    rows = rows.merge(baskets, on=_DAY, how="left").merge(spent, on=_PAIR, how="left")
    amount = rows["amount"].fillna(0.0)
    order = ["id", "company", "chain", "dept", "category", "brand", "productmeasure", "initial_amount"]
    order += ["initial_items", "initial_quantity", "basket_amount", "basket_items", "date"]
    return rows[order].assign(repurchase=(amount > 0).astype(np.int64), amount=amount)


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    names: dict[str, Any] = {"productmeasure": "str", "date": np.int64}
    return frame.astype({name: dtype for name, dtype in names.items() if name in frame})
