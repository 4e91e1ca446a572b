"""What a column's name suggests. Names are conventions, so everything here is a hint and is reported as one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from htlnet_tf.schema.features import Group
from htlnet_tf.schema.names import argument_name


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STEPS = (
    "click|tap|view|long_view|valid_view|like|dislike|favou?rite|collect|follow|comment|forward|share|hate|report|skip"
    "|buy|bought|purchase|repurchase|order|cart|add_to_cart|checkout|pay|paid|convert|conversion|install|download"
    "|subscribe|sign_?up|visit|redeem|refund|claim|churn|profile_enter|enter|finish|complete|watch|play"
)
# What comes before the steps above: named so, a column is a step if they do not happen without it.
_EARLIER_STEP = re.compile(
    r"(?:(?:is|has|was)_)?(?:exposed?|exposure|impression|shown?|see|seen|served?|sent|delivered|opened?|landed|viewed)"
    r"(?:_(?:flag|label|ind|indicator))?"
)
_PARTICIPLE = r"(?:s|ed|d|ped|n)?"
# "is_click", "clicked", "click_label", "purchase_time"; but not "follow_user_num" or "click_rate_7d".
_STEP = re.compile(
    rf"(?:(?:is|has|did|label|target|y)_)?(?:{_STEPS}){_PARTICIPLE}(?:_(?:flag|label|ind|indicator|at|time|ts))?"
)
# "ad_click", "first_purchase".
_STEP_AT_END = re.compile(r".*_(?:click|purchase|purchased|conversion|like|long_view|buy|bought|order|install)")
# What a user did before the impression is a feature: "hist_click", "last_7d_purchase".
_HISTORY = re.compile(
    r"(?:hist|history|past|prev|previous|last|recent|avg|mean|num|user|item|pre)_.*|.*\d+_?d(?:ays?)?_.*"
)
_AMOUNT = re.compile(
    r"(?:.*_)?(?:(?:stay|dwell|watch|play|view)(?:ing)?_?(?:time|duration|seconds|secs?)"
    r"|spend|spent|spending|revenue|gmv|payment|paid_amount|order_amount|order_value|claim_amount|purchase_amount"
    r"|purchase_value|profit|watch_ratio|play_ratio)(?:_(?:ms|s|sec|seconds|min|minutes|usd|eur|amount|value))?"
)
# In the order of trust; "amount" and "value" say little, so they come last.
_CORE = tuple(
    re.compile(rf"(?:.*_)?(?:{name})(?:_(?:ms|s|sec|secs|seconds|min|minutes|usd|eur|cny|amount|value|total))?")
    for name in (
        "watch_?time|play_?time|watching_time|playing_time|watch_duration",
        "spend|spent|spending",
        "revenue|gmv",
        "amount",
        "value",
    )
)
_EXPORTED = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*")
_UNIT = re.compile(r".*_(ms|s|sec|secs|seconds|min|minutes|usd|eur|cny)")
_UNITS = {"sec": "s", "secs": "s", "seconds": "s", "minutes": "min", "usd": "USD", "eur": "EUR", "cny": "CNY"}
_ID = re.compile(r"(?:.*_)?(?:id|ids|uid|pid|gid|uuid|guid|key|code|hash|nr|nummer|sku|asin|zip|zipcode|postcode)")
_CODE = re.compile(r"(?:.*_)?(?:type|category|cat|class|tab|brand|author|feat\d*|level|bucket|onehot_feat\d*)")
# "user_id", "customerId", "uid"; but not "user_city_id" or "user_age".
_USER_ID = re.compile(
    r"(?:user|customer|member|visitor|viewer|account|buyer|subscriber)(?:_?(?:id|uid|uuid|guid|key|hash))?|uid"
)
_AMOUNT_WORDS = _words(
    "num number count cnt total sum days hours minutes seconds ms sec age price cost amount value balance "
    "duration length size width height weight ratio rate ctr score distance km lat lon latitude longitude "
    "avg mean discount quantity qty"
)
_TIME_UNIT = r"(?:_(?:s|ms|us|ns|utc))?"
_TIME = (
    re.compile(
        rf"(?:(?:event|log|logged|serve|served|impression|expose|exposure|request|show)_)?"
        rf"(?:time|timestamp|ts|datetime|date|at){_TIME_UNIT}"
    ),
    re.compile(rf"(?:.*_)?(?:time|timestamp|ts|datetime|date|at|on){_TIME_UNIT}"),
)

_TOKENS: dict[Group, frozenset[str]] = {
    "item": _words("item video product ad ads creative article news movie music song shop store author goods"),
    "user": _words("user customer member visitor viewer account uid buyer subscriber"),
    "context": _words(
        "hour hourmin minute weekday day date time timestamp ts tab device position pos slot rank request "
        "session page channel network os platform browser app ip referrer query context"
    ),
}


def is_outcome_like(name: str) -> bool:
    """Whether the name suggests something the user did after the impression."""
    name = _snake(name)
    if _AMOUNT.fullmatch(name):
        return True
    return not _HISTORY.fullmatch(name) and bool(_STEP.fullmatch(name) or _STEP_AT_END.fullmatch(name))


def is_earlier_step(name: str) -> bool:
    """Whether the name suggests what must happen before a user can do anything: that an item was shown."""
    return bool(_EARLIER_STEP.fullmatch(_snake(name)))


def is_day(name: str) -> bool:
    """Whether whole numbers such as 20240501 under this name are days."""
    return not {"day", "date", "dt", "datum", "ymd"}.isdisjoint(_snake(name).split("_"))


def exported_names(columns: Iterable[str]) -> dict[str, str]:
    """A name for every column that an exported model can have, its own if possible; no two are alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    listed = list(columns)
    # Those that need none come first, so that none loses its name to another that needs a new one.
    for column in sorted(listed, key=lambda column: not _EXPORTED.fullmatch(column)):
        plain = column if _EXPORTED.fullmatch(column) else _plain(column) or f"column_{listed.index(column)}"
        name, number = plain, 2
        while _argument(name) in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(_argument(name))
        names[column] = name
    return {column: names[column] for column in listed}


def _argument(name: str) -> str:
    """What TensorFlow makes of a name; two that are alike there cannot both be exported."""
    return re.sub(r"[^a-z0-9]", "_", argument_name(name).lower())


def _plain(column: str) -> str:
    text = unicodedata.normalize("NFKD", column.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9.\-]+", "_", text).strip("_.-")


def core_rank(name: str) -> int | None:
    """How well the name fits a core target, 0 the best; None if it does not."""
    name = _snake(name)
    if _HISTORY.fullmatch(name):
        return None
    return next((rank for rank, pattern in enumerate(_CORE) if pattern.fullmatch(name)), None)


def is_id_like(name: str) -> bool:
    """Whether whole numbers under this name are identities or codes, not amounts."""
    return bool(_ID.fullmatch(_snake(name)) or _CODE.fullmatch(_snake(name)))


def is_user_id(name: str) -> bool:
    """Whether the name suggests that the values tell users apart."""
    return bool(_USER_ID.fullmatch(_snake(name)))


def is_amount_like(name: str) -> bool:
    """Whether whole numbers under this name are amounts."""
    return not _AMOUNT_WORDS.isdisjoint(_snake(name).split("_"))


def timestamp_rank(name: str) -> int | None:
    """How well the name fits the time of the row, 0 the best; None if it does not suggest a time."""
    name = _snake(name)
    return next((rank for rank, pattern in enumerate(_TIME) if pattern.fullmatch(name)), None)


def group_of(name: str) -> Group:
    """Whom a column belongs to: by its first word if that is telling, else by any other, else the item."""
    words = _snake(name).split("_")
    for candidates in (words[:1], words[1:]):
        for word in candidates:
            for group, tokens in _TOKENS.items():
                if word in tokens:
                    return group
    return "item"


def unit_of(name: str) -> str | None:
    """The unit that a name ends in, `"ms"` of `play_time_ms`."""
    match = _UNIT.fullmatch(_snake(name))
    return None if match is None else _UNITS.get(match[1], match[1])


def _snake(name: str) -> str:
    """`watchTimeMs` and `Watch-Time-MS` as `watch_time_ms`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
