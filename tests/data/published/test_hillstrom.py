"""load_hillstrom on a made-up excerpt in the published layout."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from htlnet_tf.data.published.hillstrom import HILLSTROM_FILE, HILLSTROM_OUTCOMES, load_hillstrom
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema
from tests.conftest import REPO

_TEXT = """\
recency,history_segment,history,mens,womens,zip_code,newbie,channel,segment,visit,conversion,spend
10,2) $100 - $200,142.44,1,0,Surburban,0,Phone,Womens E-Mail,0,0,0
6,3) $200 - $350,329.08,1,1,Rural,1,Web,No E-Mail,1,0,0
2,1) $0 - $100,45.34,1,0,Urban,0,Web,Womens E-Mail,1,1,29.99
9,"6) $750 - $1,000",812,0,1,Urban,1,Multichannel,Mens E-Mail,0,0,0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / HILLSTROM_FILE
    path.write_text(_TEXT, encoding="utf-8")
    return path


def test_rows_and_targets(file: Path) -> None:
    frame = load_hillstrom(file)
    assert frame["visit"].tolist() == [0, 1, 1, 0]
    assert frame["conversion"].tolist() == [0, 0, 1, 0]
    assert frame["spend"].tolist() == [0.0, 0.0, 29.99, 0.0]
    assert frame["spend"].dtype == np.float64 and frame["visit"].dtype == np.int64
    assert frame["history_segment"][3] == "6) $750 - $1,000" and frame["zip_code"][0] == "Surburban"
    assert frame["recency"].tolist() == [10, 6, 2, 9] and frame["history"][3] == 812.0


def test_the_folder_another_name_and_gzip_will_do(file: Path, tmp_path: Path) -> None:
    expected = load_hillstrom(file)
    assert load_hillstrom(str(tmp_path)).equals(expected)
    packed = tmp_path / "other" / "mail.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(_TEXT.encode()))
    assert load_hillstrom(packed).equals(expected)
    assert load_hillstrom(packed.parent).equals(expected)


def test_what_is_no_such_file(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there; the published layout"):
        load_hillstrom(tmp_path / "nowhere.csv")
    (tmp_path / "second.csv").touch()
    with pytest.raises(InputError, match=r"has 2 CSV files \['Kevin.*', 'second.csv'\]"):
        load_hillstrom(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has 0 CSV files"):
        load_hillstrom(tmp_path / "empty")
    (tmp_path / "mail.xls").touch()
    with pytest.raises(InputError, match=r"is not a \.csv"):
        load_hillstrom(tmp_path / "mail.xls")


def test_a_truncated_gzip(tmp_path: Path) -> None:
    packed = gzip.compress(_TEXT.encode())
    (tmp_path / "mail.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"mail\.csv\.gz cannot be read .* truncated"):
        load_hillstrom(tmp_path)


@pytest.mark.parametrize("column", ["recency", "segment", "spend"])
def test_a_missing_column(file: Path, column: str) -> None:
    file.write_text(_TEXT.replace(column, "renamed", 1), encoding="utf-8")
    if column == "segment":  # also the end of history_segment, which stands before it
        file.write_text(_TEXT.replace(",segment", ",renamed", 1), encoding="utf-8")
    with pytest.raises(InputError, match=f"column '{column}' must be there once, but is there 0 times"):
        load_hillstrom(file)


def _swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("garble", "parts"),
    [
        (_swap("329.08", "much"), ["'history'", "finite number", "line 3", "'much'"]),
        (_swap("329.08", "-1"), ["'history'", "[0, inf]", "line 3", "-1"]),
        (_swap("29.99", "-29.99"), ["'spend'", "[0, inf]", "line 4", "-29.99"]),
        (_swap("\n6,", "\n13,"), ["'recency'", "[1, 12]", "line 3", "13"]),
        (_swap("\n6,", "\n,"), ["'recency'", "integer", "line 3", "nothing"]),
        (_swap("Rural", "Suburban"), ["'zip_code'", "one of", "Surburban", "line 3", "'Suburban'"]),
        (_swap("No E-Mail", ""), ["'segment'", "one of", "line 3", "nothing"]),
        (_swap("1,1,29.99", "0,1,29.99"), ["'conversion'", "'visit'", "line 4", "1"]),  # a purchase without a visit
        (_swap("1,1,29.99", "1,1,0"), ["'spend'", "'conversion'", "line 4", "0"]),
        (_swap("1,0,0\n2", "1,0,5\n2"), ["'spend'", "'conversion'", "line 3", "5"]),
        (_swap(",1,1,29.99", ",1,1"), ["line 4", "12 fields", "has 11"]),
        (lambda text: text.splitlines()[0], ["at least one row"]),
    ],
)
def test_a_broken_rule_is_named_with_column_and_line(
    file: Path, garble: Callable[[str], str], parts: list[str]
) -> None:
    garbled = garble(_TEXT)
    assert garbled != _TEXT
    file.write_text(garbled, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_hillstrom(file)
    for part in [HILLSTROM_FILE, *parts]:
        assert part in str(caught.value), f"{part!r} is not in: {caught.value}"


@pytest.mark.parametrize("name", HILLSTROM_OUTCOMES)
def test_an_outcome_is_not_a_feature(file: Path, name: str) -> None:
    schema = Schema(features=(Categorical("zip_code"), Numeric(name)), targets=(Binary("a"), Continuous("b")))
    with pytest.raises(InputError, match=f"'{name}' is an outcome"):
        load_hillstrom(file, schema)


def test_the_shipped_schema_fits_the_loader(file: Path) -> None:
    schema = Schema.from_yaml(REPO / "configs" / "hillstrom.schema.yaml")
    frame = load_hillstrom(file, schema)
    # Every column is used: as a feature or as a target.
    assert set(schema.columns) == set(frame)
    assert tuple(t.name for t in schema.targets) == HILLSTROM_OUTCOMES
