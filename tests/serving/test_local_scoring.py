"""Files of rows -> files of scores by an exported version in this process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.serving.local_servable import BATCH_ROWS, loaded
from htlnet_tf.serving.server.servables import LoadedVersion
from tests.conftest import htlnet, small_frame

KEEP = ["user_id", "item_id"]
LABELS = ["click", "buy", "spend", "time_ms"]
SCORES = ["click", "buy", "spend", "score"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three files of rows of different lengths, without labels."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for part, count in enumerate((90, 1, 150)):
        small_frame(count, seed=part).drop(columns=LABELS).to_parquet(folder / f"part-{part}.parquet", index=False)
    return folder


def read(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))], ignore_index=True)


def test_scores_are_the_models_and_the_servers(ranked_model: Any, ranked_models: Path, rows: Path) -> None:
    output = rows.parent / "scores"
    done = htl.score_files(ranked_models / "m", rows / "*.parquet", output, keep=KEEP)
    assert (done.rows, done.parts, done.present, done.bad_rows) == (241, 3, 0, 0)
    assert sorted(path.name for path in output.iterdir()) == [f"part-{part}.parquet" for part in range(3)]
    scores, frame = read(output), read(rows)
    assert list(scores) == [*KEEP, *SCORES]
    assert scores["item_id"].tolist() == frame["item_id"].tolist()
    assert scores["user_id"].fillna("").tolist() == frame["user_id"].fillna("").tolist()
    expected = htl.predict(ranked_model, frame)
    # What a server runs is this session, see `LoadedVersion`.
    served = LoadedVersion(ranked_models / "m" / "1")
    raw = htl.encoding.encoder.raw_features(frame, ranked_model.encoder.schema)
    answered = served.run("serving_default", {n: _bytes(v) for n, v in raw.items()})
    for name in SCORES:
        np.testing.assert_allclose(scores[name], expected[name], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scores[name], answered[name], rtol=1e-5, atol=1e-6)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.array([v.encode() for v in values], object) if values.dtype == object else values


def test_a_row_has_the_same_scores_wherever_it_stands(ranked_models: Path) -> None:
    servable = loaded((ranked_models / "m" / "1").absolute())
    assert servable.batch_rows in BATCH_ROWS
    from htlnet_tf.data.raw_features import raw_features

    raw = raw_features(small_frame(2500, seed=3), servable.schema)
    whole = servable.scores(raw)
    order = np.random.default_rng(0).permutation(2500)
    shuffled = servable.scores({name: values[order] for name, values in raw.items()})
    alone = servable.scores({name: values[7:8] for name, values in raw.items()})
    for name, values in whole.items():
        assert np.array_equal(shuffled[name], values[order]), name
        assert np.array_equal(alone[name], values[7:8]), name


def test_what_is_there_is_not_made_again(ranked_models: Path, rows: Path) -> None:
    output = rows.parent / "scores"
    model = ranked_models / "m"
    htl.score_files(model, rows, output)
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    (output / "part-1.parquet").unlink()  # as if the run had been killed there
    small_frame(91).to_parquet(rows / "part-2.parquet")  # and this file was written anew
    done = htl.score_files(model, rows, output)
    assert (done.parts, done.present, done.rows) == (2, 1, 92)
    assert (output / "part-0.parquet").stat().st_mtime_ns == before["part-0.parquet"]
    assert len(pd.read_parquet(output / "part-2.parquet")) == 91
    assert htl.score_files(model, rows, output).present == 3


def test_scores_of_other_settings_stay_until_they_may_go(ranked_models: Path, rows: Path) -> None:
    output = rows.parent / "scores"
    model = ranked_models / "m"
    htl.score_files(model, rows, output)
    with pytest.raises(InputError, match=r"part-0.parquet' was made with other settings: keep \[\] there"):
        htl.score_files(model, rows, output, keep=KEEP)
    assert list(pd.read_parquet(output / "part-0.parquet")) == SCORES
    other = rows.parent / "models" / "m" / "2"
    shutil.copytree(model / "1", other)
    schema = other / "assets.extra" / "schema.yaml"
    schema.write_text(schema.read_text() + "\n")  # any other byte makes it another version
    with pytest.raises(InputError, match=r"other settings: model '\w+' there and '\w+' here"):
        htl.score_files(other.parent, rows, output)
    htl.score_files(model, rows, output, keep=KEEP, overwrite=True)
    assert list(read(output)) == [*KEEP, *SCORES]
    (output / "mine.csv").write_text("a\n1\n")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"mine.csv' is no file of scores"):
            htl.score_files(model, rows, output, overwrite=overwrite)


def test_csv_in_folders_is_read_as_in_training(ranked_model: Any, ranked_models: Path, tmp_path: Path) -> None:
    frames = [small_frame(40, seed=day) for day in range(2)]
    for day, frame in enumerate(frames):
        (tmp_path / f"rows/day={day}").mkdir(parents=True)
        frame.to_csv(tmp_path / f"rows/day={day}/a.csv", index=False)
    # Without its columns, and of zero bytes: a part without rows.
    (tmp_path / "rows/day=0/empty.csv").touch()
    done = htl.score_files(ranked_models / "m", tmp_path / "rows", tmp_path / "scores", keep=["day", "time_ms"])
    assert (done.rows, done.parts) == (80, 3)
    for day, frame in enumerate(frames):
        scores = pq.ParquetFile(tmp_path / f"scores/day={day}/a.csv.parquet").read().to_pandas()
        assert scores["day"].tolist() == [f"{day}"] * 40
        np.testing.assert_allclose(scores["spend"], htl.predict(ranked_model, frame)["spend"], rtol=1e-5, atol=1e-6)
    empty = pq.ParquetFile(tmp_path / "scores/day=0/empty.csv.parquet").read()
    assert empty.num_rows == 0 and empty.schema.equals(
        pq.ParquetFile(tmp_path / "scores/day=0/a.csv.parquet").read().schema
    )


def test_bad_rows(ranked_models: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows 3 and 5 of the third file are not whole numbers and infinite; the others have their scores."""
    frame = small_frame(60, seed=9).astype({"item_id": float})
    frame.loc[3, "item_id"], frame.loc[5, "age"] = 0.5, np.inf
    frame.to_parquet(rows / "part-2.parquet")
    output = rows.parent / "scores"
    score = ["score", "--model", str(ranked_models / "m"), "--input", str(rows), "--output", str(output)]
    assert htlnet(*score) == 2
    error = capsys.readouterr().err
    assert "part-2.parquet, column 'item_id', row 3: feature 'item_id'" in error and "Traceback" not in error
    assert not (output / "part-2.parquet").exists()
    shutil.rmtree(output)
    assert htlnet(*score, "--on_bad_rows", "skip", "--keep", "price") == 0
    assert "2 bad rows were skipped; the first: " in capsys.readouterr().err
    good = frame.drop(index=[3, 5])
    scores = pd.read_parquet(output / "part-2.parquet")
    np.testing.assert_array_equal(scores["price"], good["price"])
    assert pd.read_csv(output / "_bad_rows/part-2.csv")["row"].tolist() == [3, 5]
    # The other rows' scores are those of a table without the two.
    good.to_parquet(rows / "part-2.parquet")
    htl.score_files(ranked_models / "m", rows / "part-2.parquet", rows.parent / "clean", keep=["price"])
    pd.testing.assert_frame_equal(scores, pd.read_parquet(rows.parent / "clean" / "part-2.parquet"))


def faults() -> dict[str, tuple[dict[str, Any], str]]:
    return {
        "version": ({"model": "m/7"}, r"has no version 7, only \[1\]"),
        "models": ({"model": "."}, r"is no model: .* it holds the models \['m'\]"),
        "absent": ({"model": "nobody"}, r"nobody' does not exist"),
        "kept score": ({"keep": ["spend"]}, r"'spend' cannot be kept: a score has the same name"),
        "kept unknown": ({"keep": ["nothing"]}, r"part-0.parquet': column 'nothing' is missing"),
        "jobs": ({"jobs": 0}, r"jobs must be at least 1"),
        "no files": ({"source": "*.nothing"}, r"matches no file"),
        "inside": ({"output": "rows/scores"}, r"lies in a folder that is read"),
        "file": ({"output": "rows/part-0.parquet"}, r"rows/part-0.parquet'"),
    }


@pytest.mark.parametrize("fault", faults())
def test_wrong_use_is_told(ranked_models: Path, rows: Path, fault: str) -> None:
    change, message = faults()[fault]
    model, source = change.pop("model", "m"), change.pop("source", "")
    output = rows.parent / change.pop("output", "scores")
    with pytest.raises(InputError, match=message):
        htl.score_files(ranked_models / model, rows / source, output, **change)
    assert not (rows.parent / "scores").exists()


def test_a_damaged_or_other_file_ends_it_before_anything_is_made(ranked_models: Path, rows: Path) -> None:
    output = rows.parent / "scores"
    pd.read_parquet(rows / "part-2.parquet").drop(columns="price").to_parquet(rows / "part-2.parquet")
    with pytest.raises(InputError, match=r"part-2.parquet': column 'price' is missing"):
        htl.score_files(ranked_models / "m", rows, output)
    (rows / "part-2.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match=r"part-2.parquet' cannot be read as a Parquet file"):
        htl.score_files(ranked_models / "m", rows, output)
    assert not output.exists()


def test_flags_of_the_other_way_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert htlnet("score", "--model", "m", "--input", "x", "--label", "stable") == 2
    assert "--label goes with --url; received it with --model" in capsys.readouterr().err
    assert htlnet("score", "--url", "http://h", "--input", "x", "--jobs", "2") == 2
    assert "--jobs goes with --model" in capsys.readouterr().err
    assert htlnet("score", "--model", "m", "--input", "x") == 2
    assert "--output DIR" in capsys.readouterr().err
