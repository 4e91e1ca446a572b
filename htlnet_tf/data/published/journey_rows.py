"""Counts the log of The Complete Journey and lays the counts out as rows: week x household x product group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from htlnet_tf.data.published.weekly_history import WeeklyHistory, weeks_since
from htlnet_tf.errors import InputError

DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
"""The columns of the survey of the households."""

_WINDOWS = (1, 4, 12)
_MONDAY_OF_WEEK_2 = np.datetime64("2017-01-02", "s")
_SECONDS_PER_WEEK = 7 * 24 * 3600


class Log(NamedTuple):
    """The purchases, counted; W weeks (row i is week i + 1), H households, G groups."""

    households: pd.Index  # int64 [H], ascending
    groups: pd.Index  # str [G], from the one bought most often
    baskets: np.ndarray  # int64 [W, H]
    cents: np.ndarray  # int64 [W, H], of all products
    group_cents: np.ndarray  # int64 [W, H, G]


def monday(weeks: np.ndarray) -> np.ndarray:
    """The Mondays on which weeks begin, datetime64[s]; week 1 has its Sunday alone."""
    return _MONDAY_OF_WEEK_2 + (np.asarray(weeks) - 2) * np.timedelta64(_SECONDS_PER_WEEK, "s")


def week_of(dates: np.ndarray) -> np.ndarray:
    """The weeks in which days lie, int64; the inverse of `monday`."""
    return (dates - _MONDAY_OF_WEEK_2) // np.timedelta64(_SECONDS_PER_WEEK, "s") + 2


def count_log(lines: pd.DataFrame, first_week: int, num_groups: int) -> Log:
    """Counts the lines of the purchases.

    Args:
      lines: Columns `household_id`, `basket_id`, `week`, `sales_value` and `category` (missing: in no group).
      first_week: The groups are chosen by the weeks before it.
      num_groups: How many groups: the categories that were bought in most pairs of household and week; of equals the
        first by name.

    Raises:
      InputError: There are fewer groups.
    """
    cents = np.rint(lines["sales_value"].to_numpy() * 100).astype(np.int64)
    bought = lines[["household_id", "week", "category"]][(cents > 0) & (lines["week"] < first_week).to_numpy()]
    popular = bought.drop_duplicates()["category"].value_counts().reset_index()
    popular = popular.sort_values(["count", "category"], ascending=[False, True])
    if not 1 <= num_groups <= len(popular):
        raise InputError(
            f"num_groups must be from 1 to the number of product categories that were bought before week {first_week}, "
            f"{len(popular)}; received {num_groups}"
        )
    groups = pd.Index(popular["category"].iloc[:num_groups].tolist())

    week = lines["week"].to_numpy() - 1
    household, households = pd.factorize(lines["household_id"], sort=True)
    group = groups.get_indexer(pd.Index(lines["category"]))
    shape = (int(week.max()) + 1, len(households))
    baskets = ~lines[["household_id", "week", "basket_id"]].duplicated().to_numpy()
    known = group >= 0
    return Log(
        households=pd.Index(households),
        groups=groups,
        baskets=_sums(shape, (week[baskets], household[baskets])),
        cents=_sums(shape, (week, household), cents),
        group_cents=_sums((*shape, num_groups), (week[known], household[known], group[known]), cents[known]),
    )


def build_rows(log: Log, files: Mapping[str, pd.DataFrame], weeks: np.ndarray) -> pd.DataFrame:
    """The rows of `load_complete_journey`, whose docstring has the columns.

    Args:
      log: The purchases, counted.
      files: The other tables by name: `demographics`, `campaigns`, `campaign_descriptions`, `coupon_redemptions` and
        `coupons`, this one with the column `category`.
      weeks: int64 [n], those that make rows, from 2 on.
    """
    # A household that was not seen before is not known before the week, so it has no row. [n, H]
    seen = WeeklyHistory(log.baskets).ever(weeks) > 0
    num_groups = len(log.groups)
    week, household = (index.repeat(num_groups) for index in np.nonzero(seen))
    columns: dict[str, object] = {"household_id": log.households.to_numpy()[household]}
    survey = files["demographics"].set_index("household_id").reindex(log.households)
    for name in DEMOGRAPHICS:
        answers = pd.Categorical(survey[name])
        columns[name] = pd.Categorical.from_codes(answers.codes[household], dtype=answers.dtype)
    for name, values in _of_household(log, files, weeks):  # [n, H]
        columns[name] = values[seen].repeat(num_groups)
    codes = np.tile(np.arange(num_groups, dtype=np.int16), int(seen.sum()))
    columns["product_group"] = pd.Categorical.from_codes(codes, categories=log.groups)
    for name, values in _of_group(log, weeks, seen.sum(axis=1)):  # [n, G]
        columns[name] = values[week, codes]
    for name, values in _of_pair(log, files, weeks):  # [n, H, G]
        columns[name] = values[seen].ravel()
    columns["week"] = weeks[week]
    columns["week_start"] = monday(weeks)[week]
    spend = log.group_cents[weeks - 1][seen].ravel()
    columns["visit"] = (log.baskets[weeks - 1] > 0)[seen].repeat(num_groups).astype(np.int64)
    columns["buy"] = (spend > 0).astype(np.int64)
    columns["spend"] = spend / 100
    return pd.DataFrame(columns, copy=False)


def _of_household(log: Log, files: Mapping[str, pd.DataFrame], weeks: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    visited = log.baskets > 0
    tenure = _tenure(log, weeks)
    yield "household_recency", weeks_since(visited, weeks)
    yield from _windows("household_visits", visited, weeks, tenure)
    yield from _windows("household_baskets", log.baskets, weeks, tenure)
    yield from _windows("household_spend", log.cents, weeks, tenure, unit=100)
    received, running, _ = _campaigns(log, files, weeks)
    yield "household_campaigns", (running @ received.T).astype(np.int32)

    redeemed = files["coupon_redemptions"]
    week = week_of(redeemed["redemption_date"].to_numpy()) - 1
    household = log.households.get_indexer(pd.Index(redeemed["household_id"]))
    known = (household >= 0) & (week >= 0) & (week < len(log.baskets))
    redemptions = _sums(log.baskets.shape, (week[known], household[known]))
    yield "household_redemptions_12w", WeeklyHistory(redemptions).last(weeks, 12).astype(np.int32)


def _of_group(log: Log, weeks: np.ndarray, num_seen: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for name, counts, unit in (("buyers", log.group_cents > 0, 1), ("spend", log.group_cents, 100)):
        history = WeeklyHistory(counts.sum(axis=1))
        for length in _WINDOWS:
            share = history.last(weeks, length) / (unit * length * np.maximum(num_seen, 1)[:, None])
            yield f"group_{name}_{length}w", share.astype(np.float32)


def _of_pair(log: Log, files: Mapping[str, pd.DataFrame], weeks: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    bought = log.group_cents > 0
    tenure = _tenure(log, weeks)[:, :, None]
    yield "pair_recency", weeks_since(bought, weeks)
    yield from _windows("pair_buys", bought, weeks, tenure)
    yield from _windows("pair_spend", log.group_cents, weeks, tenure, unit=100)
    received, running, coupons = _campaigns(log, files, weeks)
    yield "pair_coupons", ((received * running[:, None, :]) @ coupons).astype(np.int32)


def _windows(
    name: str, counts: np.ndarray, weeks: np.ndarray, tenure: np.ndarray, *, unit: int = 1
) -> Iterator[tuple[str, np.ndarray]]:
    """Sums over the last weeks, and the mean per week over all of them; `unit` is what makes one of the column's."""
    history = WeeklyHistory(counts)
    for length in _WINDOWS:
        values = history.last(weeks, length)
        yield f"{name}_{length}w", values.astype(np.int32) if unit == 1 else (values / unit).astype(np.float32)
    yield f"{name}_ever", (history.ever(weeks) / (unit * tenure)).astype(np.float32)


def _tenure(log: Log, weeks: np.ndarray) -> np.ndarray:
    """Weeks from a household's first one to the one before the row's, int64 [n, H], 1 at least."""
    first = (log.baskets > 0).argmax(axis=0) + 1
    return np.maximum(weeks[:, None] - first, 1)


def _campaigns(
    log: Log, files: Mapping[str, pd.DataFrame], weeks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of C campaigns: who received them [H, C], in which weeks they run [n, C], their coupons per group [C, G]."""
    described = files["campaign_descriptions"]
    ids = pd.Index(described["campaign_id"])
    sent = files["campaigns"].drop_duplicates()
    household = log.households.get_indexer(pd.Index(sent["household_id"]))
    known = household >= 0
    received = _sums(
        (len(log.households), len(ids)), (household[known], ids.get_indexer(pd.Index(sent["campaign_id"]))[known])
    )
    begin = monday(weeks)[:, None]
    running = (described["start_date"].to_numpy() < begin) & (described["end_date"].to_numpy() >= begin)
    offers = files["coupons"][["campaign_id", "coupon_upc", "category"]].drop_duplicates()
    group = log.groups.get_indexer(pd.Index(offers["category"]))
    known = group >= 0
    campaign = ids.get_indexer(pd.Index(offers["campaign_id"]))
    coupons = _sums((len(ids), len(log.groups)), (campaign[known], group[known]))
    return received, running.astype(np.int64), coupons


def _sums(shape: tuple[int, ...], indices: tuple[np.ndarray, ...], values: np.ndarray | None = None) -> np.ndarray:
    """Sums of the values (of ones, if there are none) with equal indices, int64 `shape`."""
    flat = np.bincount(
        np.ravel_multi_index(indices, shape), weights=values, minlength=int(np.prod(shape, dtype=np.int64))
    )
    # Sums of cents are whole and far below 2**53, so float64 holds them exactly.
    return flat.astype(np.int64).reshape(shape)
