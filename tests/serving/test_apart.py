"""Scores are written apart from what they are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from htlnet_tf.data.sources.listing import table_files
from htlnet_tf.errors import InputError
from htlnet_tf.serving.apart import require_addresses_apart, require_apart


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with `rows/day=1/a.csv`, `rows/day=2/a.csv` and `links/a.csv`, which is the first of them."""
    for day in (1, 2):
        (tmp_path / f"rows/day={day}").mkdir(parents=True)
        (tmp_path / f"rows/day={day}/a.csv").touch()
    (tmp_path / "links").mkdir()
    (tmp_path / "links/a.csv").symlink_to(tmp_path / "rows/day=1/a.csv")
    (tmp_path / "rows_too").symlink_to(tmp_path / "rows")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "output"),
    [
        ("rows", "rows"),
        ("rows", "rows/day=1/scores"),
        ("rows", "."),
        ("rows", "rows_too/scores"),
        ("rows_too", "rows"),
        ("rows/day=1/a.csv", "rows"),
        ("rows/day=1/a.csv", "rows/day=1/a.csv"),
        ("rows/day=*", "rows/day=1/scores"),
        ("rows/*", "rows/scores"),  # which is not there yet
        ("rows/**/*.csv", "rows/scores"),
        ("links/*.csv", "rows"),
        ("links/a.csv", "links"),
    ],
)
def test_refused(table: Path, paths: str, output: str) -> None:
    files, _ = table_files(table / paths)
    with pytest.raises(InputError, match=r"the folder of the scores|folder that is read for the rows, or holds it"):
        require_apart(table / paths, files, table / output)


@pytest.mark.parametrize(
    ("paths", "output"),
    [
        ("rows", "scores"),
        ("rows/day=1", "rows/day=2"),
        ("rows/day=*", "rows/scores"),
        ("rows/day=1/*.csv", "rows/day=1/scores"),
        ("rows/day=1/a.csv", "rows/day=1/scores"),
    ],
)
def test_allowed(table: Path, paths: str, output: str) -> None:
    files, _ = table_files(table / paths)
    require_apart(table / paths, files, table / output)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("hdfs:///logs", "hdfs:///logs"),
        ("hdfs:///logs", "hdfs://namenode:8020/logs/"),
        ("hdfs:///logs", "hdfs:///logs/scores"),
        ("hdfs:///logs/day=1", "hdfs:///logs/../logs"),
        ("hdfs:///logs/{a,b}", "hdfs:///logs/b"),
        ("s3://bucket/logs/*", "s3a://bucket/logs/scores"),
        ("s3://bucket/logs", "s3://bucket"),
    ],
)
def test_refused_addresses(source: str, output: str) -> None:
    with pytest.raises(InputError, match="is, holds or lies in"):
        require_addresses_apart(source, output)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("hdfs:///logs", "hdfs:///logs_of_scores"),
        ("hdfs:///logs/day=*", "hdfs:///logs/scores"),
        ("s3://one/logs", "s3://two/logs"),
        ("hdfs:///logs", "s3://bucket/logs"),
        ("logs", "hdfs:///logs"),
    ],
)
def test_allowed_addresses(source: str, output: str) -> None:
    require_addresses_apart(source, output)
