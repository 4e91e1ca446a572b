"""A synthetic shop whose true probabilities are known: click -> purchase -> spend."""

from __future__ import annotations

import dataclasses
import datetime
import math
import numbers
from typing import Literal, get_args

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema

Unit = Literal["EUR", "cent"]
_PER_EUR: dict[Unit, float] = {"EUR": 1.0, "cent": 100.0}

_CANDIDATES = 10  # rows per request
_NUM_DAYS = 28
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000

_SEGMENTS = np.array(["bargain", "family", "style"])
_COUNTRIES = np.array(["DE", "FR", "IT", "NL", "PL", None], dtype=object)  # None: the user did not say
_COUNTRY_SHARE = np.array([0.36, 0.20, 0.14, 0.12, 0.10, 0.08])
_CATEGORIES = np.array(["beauty", "books", "garden", "kids", "shoes", "sports"])
_BRANDS = np.array([f"brand_{i:02d}" for i in range(24)])
_TAGS = np.array(["bestseller", "eco", "handmade", "new", "refurbished", "sale"])
_DEVICES = np.array(["desktop", "phone", "tablet"])

# Share of requests, and effect on the logits of a click and of a purchase after it, of each device.
_DEVICE_SHARE = np.array([0.35, 0.55, 0.10])
_DEVICE_CLICK = np.array([-0.20, 0.15, 0.00])
_DEVICE_PURCHASE = np.array([0.35, -0.25, 0.10])

# With effects of the strengths below: a click rate of about 0.28, a purchase rate of about 0.08 of all rows.
_CLICK_BIAS = -1.30
_PURCHASE_BIAS = -1.70
# Who clicks is likelier to buy the more the steps have in common; a lower bias keeps the purchase rate where it is.
_BIAS_PER_DEPENDENCE = -0.75
_DEPENDENCE = 0.8  # the usual one
_AMOUNT_SIGMA = 0.30  # standard deviation of the log of an amount, given everything about the row


@dataclasses.dataclass(frozen=True)
class SyntheticFunnel:
    """Logged impressions of a made-up shop, with the truth behind them.

    Args:
      frame: One row per impression; the columns are those of `schema`.
      truth: Row by row, with the index of `frame`, float64: `click` = P(click | x), `purchase` = P(purchase | x), which
        is P(click | x) P(purchase | click, x), and `spend` = E[spend | x] in the unit of `frame`, which is that times
        E[amount | purchase, x]. No model can rank or predict better than these do.
      schema: The schema of `frame`.
    """

    frame: pd.DataFrame
    truth: pd.DataFrame
    schema: Schema


@dataclasses.dataclass(frozen=True)
class _Side:
    """The users, or the items, with what decides on their actions; arrays are [number of users or items]."""

    columns: pd.DataFrame  # as in the frame
    share: np.ndarray  # of the requests, or of the impressions
    group: np.ndarray  # code of the segment, or of the category
    z: np.ndarray  # age, or log of the price, standardised
    z_purchase: np.ndarray  # what stands for z in the interaction that decides on a purchase
    click: np.ndarray  # main effect on the logit of a click
    purchase: np.ndarray  # ... of a purchase after it
    log_amount: np.ndarray  # ... on the log of the amount


def generate_funnel(
    num_rows: int = 200_000,
    *,
    seed: int = 0,
    num_users: int = 500,
    num_items: int = 240,
    start: str | datetime.datetime = "2024-03-01",
    dependence: float = _DEPENDENCE,
    unit: Unit = "EUR",
) -> SyntheticFunnel:
    """Draws impressions of a shop in which a click may lead to a purchase and a purchase to an amount spent.

    With x everything known about a row, the logits of a click and of a purchase after it are sums of effects of the
    user (age, country, person), the item (brand, price, tags, article) and the context (hour, device), and of two
    interactions of low rank: segment by category and age by log price. The amount is the price times a log-normal
    factor that depends on the user. So E[spend | x] = P(click | x) P(purchase | click, x) E[amount | purchase, x].

    The effects do not change over time and users and items have many rows each, so that a model can come close to the
    truth: with 240,000 rows, 8:1:1 by time, a structured logistic regression and plain towers on shared embeddings lose
    about 0.004 and 0.01 of its purchase AUC.

    `dependence` sets how much of what drives a purchase after a click is what drives the click. From 0 to 0.8 it is the
    correlation of the two tables of segment by category, the strongest effect; those of the effects of person, article,
    brand and tags, and of age by log price, grow with it from 0 to 1. What a purchase does not share with the click is
    redrawn with the same strength: an independent table, independent effects, age by brand. Age, country, price, device
    and hour act on each step in their own way. From 0.8 to 1 the logit of a purchase moves on a straight line to that
    of the click, which it equals at 1 but for a constant. Users, items, clicks and the amounts given a purchase are the
    same at every dependence; a constant in the logit of a purchase keeps its rate at about 8 %.

    Args:
      num_rows: Number of impressions. Ten at a time belong to one request: one user, time and device, ten items.
      seed: Seed of the generator; the frame is a function of the arguments.
      num_users: Number of users, at least 2.
      num_items: Number of items, at least 20, so that the ten items of a request differ.
      start: The first day, as ISO 8601 text or a timestamp; UTC if it has no time zone. The rows span 28 days.
      dependence: In [0, 1], how much the steps of the funnel have in common.
      unit: Of `spend`, in frame, truth and schema: `"EUR"`, or `"cent"` for the same amounts times 100. The feature
        `price` stays in EUR.

    Returns:
      Frame, truth and schema; index 0 .. num_rows-1 in the order of time. About 28 % of the rows are clicked, 8 % end
      in a purchase. `country` is missing for some users and `tags` for some items.

    Raises:
      InputError: A number is not an integer or too small, `start` is not a time, `dependence` is not a number in
        [0, 1], or `unit` is not known.

    Example:
      >>> shop = generate_funnel(50_000, seed=1)
      >>> train, valid, test = time_split(shop.frame, shop.schema)
    """
    for name, value, least in (
        ("num_rows", num_rows, 1),
        ("seed", seed, 0),
        ("num_users", num_users, 2),
        ("num_items", num_items, 2 * _CANDIDATES),
    ):
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} must be an integer of at least {least}; received {value!r}")
    if not isinstance(dependence, numbers.Real) or isinstance(dependence, bool) or not 0 <= dependence <= 1:
        raise InputError(f"dependence must be a number in [0, 1]; received {dependence!r}")
    if unit not in get_args(Unit):
        raise InputError(f"unit must be one of {list(get_args(Unit))}; received {unit!r}")
    start_ms = _start_ms(start)
    # The shop has a generator of its own, so that it stays the same for any number of rows.
    # What a purchase does not share with a click comes from a third one, so that clicks depend on the seed alone.
    shop_rng, log_rng, own_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(int(seed)).spawn(3))
    shared = min(float(dependence), _DEPENDENCE)
    users = _draw_users(shop_rng, int(num_users), own_rng, shared / _DEPENDENCE)
    items = _draw_items(shop_rng, int(num_items), own_rng, shared / _DEPENDENCE)
    affinities = _affinities(shop_rng, shared)
    frame, truth = _draw_rows(log_rng, users, items, affinities, int(num_rows), start_ms, float(dependence))
    # Times 1.0 leaves every amount as it is.
    frame["spend"] *= _PER_EUR[unit]
    truth["spend"] *= _PER_EUR[unit]
    return SyntheticFunnel(frame=frame, truth=truth, schema=_schema(unit))


def _schema(unit: Unit) -> Schema:
    return Schema(
        features=(
            Categorical("user_id", group="user", dtype="string"),
            Categorical("segment", group="user", dtype="string"),
            Numeric("age", group="user"),
            Categorical("country", group="user", dtype="string"),
            Categorical("item_id", group="item", dtype="int64"),
            Categorical("category", group="item", dtype="string"),
            Categorical("brand", group="item", dtype="string"),
            Numeric("price", group="item", log1p=True),
            Categorical("tags", group="item", dtype="string", separator=","),
            Categorical("hour", group="context", dtype="int64"),
            Categorical("device", group="context", dtype="string"),
        ),
        targets=(Binary("click"), Binary("purchase"), Continuous("spend", unit=unit)),
        timestamp="time_ms",
        user="user_id",
    )


def _start_ms(start: str | datetime.datetime) -> int:
    moment = pd.to_datetime(start, utc=True, errors="coerce") if isinstance(start, (str, datetime.datetime)) else pd.NaT
    if not isinstance(moment, pd.Timestamp):  # NaT is none
        raise InputError(f"start must be a time such as '2024-03-01'; received {start!r}")
    return int(moment.timestamp() * 1000)


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    scale = centred.std()
    return centred / scale if scale > 0 else centred


def _effect(rng: np.random.Generator, size: int) -> np.ndarray:
    return _standardised(rng.standard_normal(size))  # so that the strengths below hold whatever the seed


def _correlated(effect: np.ndarray, other: np.ndarray, by: float) -> np.ndarray:
    """Of `other` what makes it correlate with `effect` by `by` whatever the seed; both are standardised, as the result.

    `effect` itself for 1, bit for bit.
    """
    rest = _standardised(other - (other * effect).mean() * effect)
    return by * effect + math.sqrt((1 - by) * (1 + by)) * rest


def _share(rng: np.random.Generator, size: int) -> np.ndarray:
    # A flat Zipf law: the most popular is shown about twice as often as the average, so everyone has enough rows.
    weight = rng.permutation((np.arange(size) + 1 + 0.1 * size) ** -0.4)
    return weight / weight.sum()


def _draw_users(rng: np.random.Generator, size: int, own_rng: np.random.Generator, shared: float) -> _Side:
    segment = rng.integers(len(_SEGMENTS), size=size)
    age = rng.integers(18, 76, size=size)
    country = rng.choice(len(_COUNTRIES), size=size, p=_COUNTRY_SHARE)
    columns = pd.DataFrame({"user_id": [f"u{i}" for i in range(size)], "segment": _SEGMENTS[segment]})
    columns = columns.assign(age=age, country=_COUNTRIES[country])
    z = _standardised(age.astype(np.float64))
    # One effect for both steps: who clicks more readily also buys more readily. Purchases alone are too few to tell.
    person = _effect(rng, size)
    buyer = _correlated(person, _effect(own_rng, size), shared)
    return _Side(
        columns=columns,
        share=_share(rng, size),
        group=segment,
        z=z,
        z_purchase=z,
        click=0.20 * person + 0.15 * _effect(rng, len(_COUNTRIES))[country] - 0.20 * z,
        purchase=0.10 * buyer + 0.20 * _effect(rng, len(_COUNTRIES))[country] + 0.25 * z,
        log_amount=0.10 * _effect(rng, len(_COUNTRIES))[country] + 0.15 * z,
    )


def _draw_items(rng: np.random.Generator, size: int, own_rng: np.random.Generator, shared: float) -> _Side:
    category = rng.integers(len(_CATEGORIES), size=size)
    brand = rng.integers(len(_BRANDS), size=size)
    price = np.round(np.exp(np.clip(rng.normal(3.2, 0.5, size=size), 1.8, 4.6)), 2)  # median 25 EUR, 6 to 100
    has_tag = rng.random((size, len(_TAGS))) < 0.25
    tags = np.array([",".join(_TAGS[row]) or None for row in has_tag], dtype=object)
    columns = pd.DataFrame({"item_id": 1000 + np.arange(size), "category": _CATEGORIES[category]})
    columns = columns.assign(brand=_BRANDS[brand], price=price, tags=tags)
    z = _standardised(np.log(price))

    # Shared by both steps, as for the users.
    article, of_brand = _effect(rng, size), _effect(rng, len(_BRANDS))
    brand_effect = of_brand[brand]
    tag_effect = _standardised(has_tag @ _effect(rng, len(_TAGS)))
    sold_article = _correlated(article, _effect(own_rng, size), shared)
    sold_brand = _correlated(of_brand, _effect(own_rng, len(_BRANDS)), shared)[brand]
    sold_tag = _correlated(tag_effect, _standardised(has_tag @ _effect(own_rng, len(_TAGS))), shared)
    return _Side(
        columns=columns,
        share=_share(rng, size),
        group=category,
        z=z,
        z_purchase=_correlated(z, _standardised(_effect(own_rng, len(_BRANDS))[brand]), shared),
        click=0.20 * article + 0.20 * brand_effect + 0.20 * tag_effect,
        purchase=0.10 * sold_article + 0.10 * sold_brand + 0.15 * sold_tag - 0.20 * z,
        log_amount=np.log(price),
    )


def _affinities(rng: np.random.Generator, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """For a click, and for a purchase after it: effects on the logit, float64 [num_segments, num_categories]."""

    def table() -> np.ndarray:
        tastes, positions = rng.standard_normal((len(_SEGMENTS), 2)), rng.standard_normal((len(_CATEGORIES), 2))
        return _standardised(tastes @ positions.T)

    # Usually correlated by 0.8: who likes to look at a category is likelier to buy there, but not surely.
    looking, other = table(), table()
    return 0.90 * looking, 0.90 * _correlated(looking, other, correlation)


def _draw_rows(
    rng: np.random.Generator,
    users: _Side,
    items: _Side,
    affinities: tuple[np.ndarray, np.ndarray],
    num_rows: int,
    start_ms: int,
    dependence: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    num_requests = -(-num_rows // _CANDIDATES)
    request = np.arange(num_rows) // _CANDIDATES
    time_ms = _request_times(rng, num_requests, start_ms)[request]
    device = rng.choice(len(_DEVICES), size=num_requests, p=_DEVICE_SHARE)[request]
    user = rng.choice(len(users.share), size=num_requests, p=users.share)[request]
    item = _candidates(rng, items.share, num_requests).reshape(-1)[:num_rows]
    hour = time_ms // _HOUR_MS % 24

    cell = (users.group[user], items.group[item])
    clicked_by_age, bought_by_age = users.z[user] * items.z[item], users.z_purchase[user] * items.z_purchase[item]
    evening = np.sin((hour - 14) * (2 * np.pi / 24))  # highest at 20 h
    click_logit = _CLICK_BIAS + users.click[user] + items.click[item] + affinities[0][cell]
    click_logit += 0.50 * clicked_by_age + _DEVICE_CLICK[device] + 0.25 * evening
    purchase_logit = _PURCHASE_BIAS + users.purchase[user] + items.purchase[item] + affinities[1][cell]
    purchase_logit += 0.60 * bought_by_age + _DEVICE_PURCHASE[device] + 0.10 * evening
    if dependence > _DEPENDENCE:
        way = (dependence - _DEPENDENCE) / (1 - _DEPENDENCE)
        purchase_logit += way * (click_logit - _CLICK_BIAS + _PURCHASE_BIAS - purchase_logit)
    purchase_logit += _BIAS_PER_DEPENDENCE * (dependence - _DEPENDENCE)
    log_amount = users.log_amount[user] + items.log_amount[item]

    p_click, p_purchase = 1 / (1 + np.exp(-click_logit)), 1 / (1 + np.exp(-purchase_logit))
    click = rng.random(num_rows) < p_click
    purchase = click & (rng.random(num_rows) < p_purchase)
    # Not rounded to cents: that would move the expectation away from the truth.
    amount = np.exp(log_amount + _AMOUNT_SIGMA * rng.standard_normal(num_rows))

    of_user, of_item = users.columns.take(user), items.columns.take(item)
    frame = pd.concat([of_user.reset_index(drop=True), of_item.reset_index(drop=True)], axis=1).assign(
        hour=hour,
        device=_DEVICES[device],
        time_ms=time_ms,
        click=click.astype(np.int64),
        purchase=purchase.astype(np.int64),
        spend=np.where(purchase, amount, 0.0),
    )
    p_both = p_click * p_purchase
    spend = p_both * np.exp(log_amount + 0.5 * _AMOUNT_SIGMA**2)
    return frame, pd.DataFrame({"click": p_click, "purchase": p_both, "spend": spend})


def _request_times(rng: np.random.Generator, num_requests: int, start_ms: int) -> np.ndarray:
    """Strictly increasing times in ms, int64 [num_requests]; days are alike, evenings are busier than nights."""
    weight = 1.0 + 0.8 * np.sin((np.arange(24) - 13) * (2 * np.pi / 24))
    day = rng.integers(_NUM_DAYS, size=num_requests)
    hour = rng.choice(24, size=num_requests, p=weight / weight.sum())
    times = np.sort(start_ms + day * _DAY_MS + hour * _HOUR_MS + rng.integers(_HOUR_MS, size=num_requests))
    # Two requests in one millisecond: the later one moves on, so that a time stands for one request.
    step = np.arange(num_requests)
    return np.maximum.accumulate(times - step) + step


def _candidates(rng: np.random.Generator, item_share: np.ndarray, num_requests: int) -> np.ndarray:
    """Ten different items per request, drawn in proportion to `item_share`, int64 [num_requests, 10].

    Systematic sampling: ten equally spaced points with a random start on the cumulated shares. No share exceeds a
    tenth (it is about 2 / num_items at most), so no item is hit twice.
    """
    points = (rng.random((num_requests, 1)) + np.arange(_CANDIDATES)) / _CANDIDATES
    drawn = np.searchsorted(np.cumsum(item_share), points, side="right")
    return rng.permuted(np.minimum(drawn, len(item_share) - 1), axis=1)
