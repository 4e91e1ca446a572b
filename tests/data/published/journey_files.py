"""The Complete Journey in its published layout: a made-up excerpt to work out by hand, and random purchases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DEMOGRAPHICS = ("age", "income", "home_ownership", "marital_status", "household_size", "household_comp", "kids_count")
_LINES = ["household_id", "week", "basket_id", "product_id", "sales_value"]
Tables = dict[str, pd.DataFrame]


def monday(week: int) -> pd.Timestamp:
    return pd.Timestamp("2017-01-02") + pd.Timedelta(7 * (week - 2), unit="D")


def transactions(lines: pd.DataFrame) -> pd.DataFrame:
    """As published, each line at noon on its week's Wednesday; on the Sunday in week 1."""
    noon = [
        monday(week) + pd.Timedelta(2 if week > 1 else 6, unit="D") + pd.Timedelta(12, unit="h") for week in lines.week
    ]
    unused = {"store_id": 1, "quantity": 1, "retail_disc": 0.0, "coupon_disc": 0.0, "coupon_match_disc": 0.0}
    return lines.assign(transaction_timestamp=pd.Series(noon, dtype="datetime64[ns]"), **unused)


def excerpt() -> Tables:
    """Three households and fifteen weeks. Product 30 has no category, 99 is not listed."""
    lines = [
        (1, 1, 100, 10, 2.00),
        (1, 2, 101, 20, 5.00),
        (1, 2, 101, 10, 1.50),
        (1, 10, 102, 10, 1.00),
        (1, 10, 103, 11, 0.50),
        (1, 10, 103, 30, 4.00),
        (1, 13, 104, 10, 3.00),
        (1, 14, 105, 20, 6.25),
        (1, 14, 105, 20, 1.00),
        (1, 15, 106, 99, 2.00),
        (1, 15, 106, 11, 1.25),
        (2, 5, 200, 20, 8.00),
        (2, 5, 200, 40, 0.75),
        (2, 12, 201, 20, 0.00),
        (2, 15, 202, 10, 2.2e-16),
        (3, 14, 300, 10, 9.99),
    ]
    categories = {10: "MILK", 11: "MILK", 20: "BEEF", 30: None, 40: "RARE"}
    ages = pd.DataFrame({"household_id": [3, 1], **dict.fromkeys(DEMOGRAPHICS, "1")})
    return {
        "transactions": transactions(pd.DataFrame(lines, columns=_LINES)),
        "products": pd.DataFrame({"product_id": list(categories), "product_category": list(categories.values())}),
        "demographics": ages.assign(age=["19-24", "45-54"], home_ownership=["Renter", None]),
        "campaigns": pd.DataFrame([(1, 1), (2, 1), (3, 1), (2, 2), (1, 77)], columns=["campaign_id", "household_id"]),
        # Weeks 14 and 15 begin on 2017-03-27 and 2017-04-03.
        "campaign_descriptions": pd.DataFrame(
            {
                "campaign_id": [3, 1, 2],
                "start_date": pd.to_datetime(["2017-01-01", "2017-03-26", "2017-03-27"]),
                "end_date": pd.to_datetime(["2017-03-26", "2017-03-27", "2017-05-01"]),
            }
        ),
        "coupons": pd.DataFrame(
            [(501, 10, 1), (501, 11, 1), (502, 10, 1), (503, 20, 1), (501, 20, 2), (504, 30, 2), (501, 10, 3)],
            columns=["coupon_upc", "product_id", "campaign_id"],
        ),
        "coupon_redemptions": pd.DataFrame(
            {
                "household_id": [1, 1, 1, 1, 77],
                "redemption_date": pd.to_datetime(
                    ["2017-01-01", "2017-01-08", "2017-03-27", "2017-03-27", "2017-03-27"]
                ),
            }
        ),
    }


def random_journey(seed: int, *, num_weeks: int = 20, households: int = 12) -> Tables:
    """Purchases of random products in random weeks, with campaigns, coupons and redemptions."""
    draw = np.random.default_rng(seed)
    n, products = 600, 12
    lines = pd.DataFrame(
        {
            "household_id": draw.integers(1, households + 1, n),
            "week": draw.integers(1, num_weeks + 1, n),
            "product_id": draw.integers(0, products, n),
            "sales_value": draw.integers(0, 900, n) / 100,
        }
    )
    # A household comes three times a week at most; that the last week has purchases fixes the number of weeks.
    lines.loc[0, "week"] = num_weeks
    lines["basket_id"] = lines["household_id"] * 1000 + lines["week"] * 10 + draw.integers(0, 3, n)
    start = pd.to_datetime("2017-01-01") + pd.to_timedelta(draw.integers(0, 7 * num_weeks, 15), unit="D")
    redeemed = pd.to_datetime("2017-01-01") + pd.to_timedelta(draw.integers(0, 7 * num_weeks - 7, 80), unit="D")
    return {
        "transactions": transactions(lines),
        "products": pd.DataFrame(
            {"product_id": range(products), "product_category": [f"group {i % 5}" for i in range(products)]}
        ),
        "demographics": pd.DataFrame({"household_id": [1, 2], **dict.fromkeys(DEMOGRAPHICS, "1")}),
        "campaigns": pd.DataFrame({"campaign_id": draw.integers(0, 15, 60), "household_id": draw.integers(1, 13, 60)}),
        "campaign_descriptions": pd.DataFrame(
            {"campaign_id": range(15), "start_date": start, "end_date": start + pd.Timedelta(30, unit="D")}
        ),
        "coupons": pd.DataFrame(
            {
                "coupon_upc": draw.integers(0, 20, 90),
                "product_id": draw.integers(0, products, 90),
                "campaign_id": draw.integers(0, 15, 90),
            }
        ),
        "coupon_redemptions": pd.DataFrame(
            {"household_id": draw.integers(1, households + 1, 80), "redemption_date": redeemed}
        ),
    }


def write(tables: Tables, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return folder
