"""Reads the MineThatData e-mail challenge, customers of a clothing shop in an e-mail test, from its published file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from htlnet_tf.data.published.tables import read_table, refuse_outcomes, require
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.schema import Schema

HILLSTROM_FILE = "Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv"
"""The name under which the file is published."""

HILLSTROM_OUTCOMES: tuple[str, ...] = ("visit", "conversion", "spend")
"""What the customer did in the two weeks after the e-mail: never features."""

_LAYOUT = (
    f"the published layout is one CSV file, {HILLSTROM_FILE}; give that file, whatever its name, or a folder in which "
    "it is the only .csv or .csv.gz file"
)

_COLUMNS: dict[str, str] = {
    "recency": "int64",
    "history_segment": "string",
    "history": "float64",
    **dict.fromkeys(("mens", "womens"), "int64"),
    "zip_code": "string",
    "newbie": "int64",
    **dict.fromkeys(("channel", "segment"), "string"),
    **dict.fromkeys(("visit", "conversion"), "int64"),
    "spend": "float64",
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "recency": (1, 12),
    **dict.fromkeys(("history", "spend"), (0, float("inf"))),
    **dict.fromkeys(("mens", "womens", "newbie", "visit", "conversion"), (0, 1)),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "history_segment": (
        "1) $0 - $100",
        "2) $100 - $200",
        "3) $200 - $350",
        "4) $350 - $500",
        "5) $500 - $750",
        "6) $750 - $1,000",
        "7) $1,000 +",
    ),
    "zip_code": ("Rural", "Surburban", "Urban"),  # spelled so in the file
    "channel": ("Multichannel", "Phone", "Web"),
    "segment": ("Mens E-Mail", "No E-Mail", "Womens E-Mail"),
}


def load_hillstrom(path: str | Path, schema: Schema | None = None) -> pd.DataFrame:
    """Reads the customers of the MineThatData E-Mail Analytics and Data Mining Challenge.

    64,000 customers who had bought within the last twelve months; a third of them, at random, was sent an e-mail on
    men's clothes, a third one on women's clothes, and a third none. The funnel is what they did in the next two weeks:
    visit (14.7 %) -> conversion (0.9 %) -> spend (USD, mean 1.05).

    There is neither a date nor an id in the file, so it can be split at random only.

    Args:
      path: The CSV file (.csv or .csv.gz), or a folder with exactly one such file.
      schema: If given, it is checked that no feature of it is an outcome.

    Returns:
      One row per customer in file order, index 0 .. n-1, with the published columns under their published names:

      - `recency` (int64, months since the last purchase, 1-12), `history` (float64, USD spent in the past year) and
        `history_segment` (string, the range of `history`),
      - `mens`, `womens` (int64, 0 or 1: bought such goods in the past year), `newbie` (int64, 0 or 1: a customer since
        less than twelve months), `zip_code` (string; "Surburban" is the file's own spelling), `channel` (string, where
        the customer bought in the past year),
      - `segment` (string, the e-mail; it was drawn at random before anything else happened, so it is a feature),
      - the targets `visit`, `conversion` (int64, 0 or 1) and `spend` (float64, USD).

    Raises:
      InputError: The file or a column is missing, the file is truncated or garbled, a value is none that its column
        has, or the funnel is broken: a purchase without a visit, or spend and purchase not in the same row. The message
        has the line, the column and the value. A feature of `schema` is an outcome.

    References:
      Kevin Hillstrom, "The MineThatData E-Mail Analytics and Data Mining Challenge", 20 March 2008,
      https://blog.minethatdata.com/2008/03/minethatdata-e-mail-analytics-and-data.html
    """
    refuse_outcomes(schema, HILLSTROM_OUTCOMES, data="the e-mail challenge", known_by="the e-mail is sent")
    file = _find_file(local_path(path))
    frame = read_table(file, _COLUMNS, bounds=_BOUNDS, choices=_CHOICES)
    bought = frame["conversion"] == 1
    rule = "must be 0 where 'visit' is 0: there is no purchase without a visit"
    require(~bought | (frame["visit"] == 1), frame["conversion"], file.name, rule)
    rule = "must be positive where 'conversion' is 1, and 0 where it is 0"
    require((frame["spend"] > 0) == bought, frame["spend"], file.name, rule)
    return frame


def _find_file(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"'{path}' is not there; {_LAYOUT}")
    if not path.is_dir():
        if not path.name.endswith((".csv", ".csv.gz")):
            raise InputError(f"'{path}' is not a .csv or .csv.gz file; {_LAYOUT}")
        return path
    files = sorted(file for file in path.iterdir() if file.name.endswith((".csv", ".csv.gz")) and file.is_file())
    if len(files) != 1:
        raise InputError(f"'{path}' has {len(files)} CSV files {[file.name for file in files]}; {_LAYOUT}")
    return files[0]
