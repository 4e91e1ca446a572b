"""Scores on Apache Spark are those of the local engine, bit for bit."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.serving import spark, spark_files
from tests.conftest import htlnet, small_frame

HAS_SPARK = importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None
on_spark = pytest.mark.skipif(not HAS_SPARK, reason="pyspark or Java is missing: make test-spark installs the former")
KEEP = ["row", "user_id"]
SCORES = ["click", "buy", "spend", "score"]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """One session for all; each batch has a few rows, so that partitions have several.

    Java neither shows a page nor compiles to the last for the few seconds that it is there.
    """
    with pytest.MonkeyPatch.context() as patch:
        options = "--conf spark.ui.enabled=false --driver-java-options -XX:TieredStopAtLevel=1"
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"{options} pyspark-shell")
        opened = spark_files.open_session("local[2]")
    opened.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "70")
    opened.conf.set("spark.sql.session.timeZone", "UTC")
    yield opened
    opened.stop()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Rows in folders by tab, which is a feature of the model; numbers and text have gaps."""
    folder = tmp_path / "rows"
    frame = small_frame(500, seed=3).drop(columns=["click", "buy", "spend", "time_ms"]).assign(row=range(500))
    frame["item_id"] = frame["item_id"].astype("Int64").mask(frame["row"] % 11 == 0)
    for tab, part in frame.groupby("tab"):
        (folder / f"tab={tab}").mkdir(parents=True)
        part.drop(columns="tab").to_parquet(folder / f"tab={tab}" / "a.parquet", index=False)
    return folder


def sorted_scores(folder: Path) -> pd.DataFrame:
    files = sorted(folder.rglob("*.parquet"))
    frame = pd.concat([pd.read_parquet(path, partitioning=None) for path in files])
    return frame[[*KEEP, *SCORES]].sort_values("row").reset_index(drop=True)


@pytest.mark.spark
@on_spark
def test_spark_and_the_local_engine_give_the_same(session: Any, ranked_models: Path, rows: Path) -> None:
    model = ranked_models / "m"
    htl.score_files(model, rows, rows.parent / "local", keep=KEEP)
    score = ["score", "--model", str(model), "--input", str(rows), "--keep", ",".join(KEEP), "--engine", "spark"]
    output = ["--output", str(rows.parent / "spark")]
    assert htlnet(*score, "--master", "local[2]", *output) == 0
    assert (rows.parent / "spark" / "_SUCCESS").exists()
    pd.testing.assert_frame_equal(sorted_scores(rows.parent / "spark"), sorted_scores(rows.parent / "local"))
    assert htlnet(*score, *output) == 2  # it exists


@pytest.mark.spark
@on_spark
def test_a_frame_in_other_partitions_by_a_shipped_model(session: Any, ranked_models: Path, rows: Path) -> None:
    model = ranked_models / "m"
    htl.score_files(model, rows, rows.parent / "local", keep=KEEP)
    frame = session.read.parquet(str(rows)).repartition(5)
    scores = spark.score(frame, model, keep=KEEP, ship=True)
    assert scores.columns == [*KEEP, *SCORES]
    found = scores.toPandas().sort_values("row").reset_index(drop=True)
    local = sorted_scores(rows.parent / "local")
    for name in SCORES:
        assert np.array_equal(found[name].to_numpy(np.float32), local[name].to_numpy(np.float32)), name


@pytest.mark.spark
@on_spark
def test_bad_rows_on_spark(
    session: Any, ranked_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = small_frame(60).assign(row=range(60))
    frame.loc[5, "age"] = np.inf
    frame.to_parquet(tmp_path / "rows.parquet")
    score = ["score", "--model", str(ranked_models / "m"), "--input", str(tmp_path / "rows.parquet")]
    score += ["--engine", "spark", "--keep", "row", "--output", str(tmp_path / "scores")]
    assert htlnet(*score) == 2
    assert "partition 0, batch 0, column 'age', row 5: feature 'age'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]  # so that the same command may run again
    assert htlnet(*score, "--on_bad_rows", "skip") == 0
    assert "1 bad rows were skipped" in capsys.readouterr().err
    assert htlnet(*score, "--overwrite") == 2  # and the old scores are still there
    kept = pd.concat(map(pd.read_parquet, (tmp_path / "scores").glob("*.parquet")))["row"].sort_values().tolist()
    assert kept == [row for row in range(60) if row != 5]


@pytest.mark.spark
@on_spark
def test_wrong_use_of_spark(session: Any, ranked_models: Path, tmp_path: Path) -> None:
    frame = session.createDataFrame([(1, "u1")], ["item_id", "user_id"])
    with pytest.raises(InputError, match=r"column 'tag' is missing; the frame has \['item_id', 'user_id'\]"):
        spark.score(frame, ranked_models / "m")
    with pytest.raises(InputError, match="'spend' cannot be kept"):
        spark.score(frame, ranked_models / "m", keep=["spend"])
    small_frame(3).to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(InputError, match="--engine local reads them all"):
        spark_files.score_on_spark(ranked_models / "m", str(tmp_path / "rows.csv"), str(tmp_path / "scores"))


@pytest.mark.spark
@on_spark
@pytest.mark.parametrize("spelled", ["{}", "file://{}", "file:{}"])
@pytest.mark.parametrize("output", ["rows", ".", "rows/scores", "m/1"])
def test_nothing_that_is_read_is_overwritten(
    ranked_models: Path, tmp_path: Path, spelled: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_files, "open_session", lambda master: pytest.fail("it is refused before Spark starts"))
    (tmp_path / "rows").mkdir()
    small_frame(3).to_parquet(tmp_path / "rows" / "a.parquet")
    shutil.copytree(ranked_models / "m", tmp_path / "m")
    with pytest.raises(InputError, match=r"or holds it|the folder of the scores"):
        spark_files.score_on_spark(
            tmp_path / "m",
            spelled.format(tmp_path / "rows"),
            spelled.format(tmp_path / output),
            overwrite=True,
        )
    assert (tmp_path / "rows" / "a.parquet").exists() and (tmp_path / "m" / "1" / "saved_model.pb").exists()


@pytest.mark.spark
@on_spark
def test_other_tables_are_not_overwritten(ranked_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_files, "open_session", lambda master: pytest.fail("it is refused before Spark starts"))
    small_frame(3).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "mine.csv").touch()
    ask = (ranked_models / "m", str(tmp_path / "rows.parquet"), str(tmp_path / "scores"))
    with pytest.raises(InputError, match=r"mine.csv' is no file of scores, so it stays"):
        spark_files.score_on_spark(*ask, overwrite=True)


@pytest.mark.spark
@on_spark
def test_a_wrong_master_is_told_in_a_sentence(
    ranked_models: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small_frame(3).to_parquet(tmp_path / "rows.parquet")
    score = ["score", "--model", str(ranked_models / "m"), "--input", str(tmp_path / "rows.parquet")]
    score += ["--engine", "spark", "--output", str(tmp_path / "scores"), "--master"]
    assert htlnet(*score, "local[none]") == 2
    error = capfd.readouterr().err
    assert error.startswith("error: --master must be local, ") and error.count("\n") == 1


def test_without_pyspark(
    ranked_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)  # as if it were not installed
    small_frame(3).to_parquet(tmp_path / "rows.parquet")
    score = ["score", "--model", str(ranked_models / "m"), "--input", str(tmp_path), "--engine", "spark"]
    assert htlnet(*score, "--output", str(tmp_path / "scores")) == 2
    assert "pip install 'htlnet-tf[spark]'" in capsys.readouterr().err
