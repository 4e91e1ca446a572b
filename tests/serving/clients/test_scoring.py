"""Files of rows to files of scores, over REST and gRPC."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from htlnet_tf.errors import InputError
from htlnet_tf.serving import EmbeddedServer, RefusedError, RestClient
from htlnet_tf.serving.clients.row_files import RowFiles
from htlnet_tf.serving.clients.scoring import score_file
from htlnet_tf.serving.signatures import Signature, TensorInfo

SIGNATURE = Signature(
    {
        "city": TensorInfo("", "DT_STRING", (-1,)),
        "count": TensorInfo("", "DT_INT64", (-1,)),
        "price": TensorInfo("", "DT_FLOAT", (-1,)),
    },
    {},
)


def rows(number: int) -> pd.DataFrame:
    values = np.arange(number)
    return pd.DataFrame(
        {"label": 1, "city": [f"{v:03}" for v in values], "count": values - 5, "price": values / 4.0, "day": "monday"}
    )


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.parquet"])
def test_scores_are_in_the_order_of_the_rows(server: EmbeddedServer, tmp_path: Path, name: str) -> None:
    frame = rows(2500)
    target = tmp_path / "scores.csv"
    assert score_file(server.url, "tiny", write(frame, tmp_path / name), target, version=1) == 2500
    scores = pd.read_csv(target, dtype={"city": str})
    assert scores["city"].tolist() == frame["city"].tolist()  # "007" stays text
    np.testing.assert_allclose(scores["click"], frame["price"])
    assert scores["length"].tolist() == [len(c) + n for c, n in zip(frame["city"], frame["count"], strict=True)]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_column_of_lists_is_refused_with_what_to_do(server: EmbeddedServer, tmp_path: Path) -> None:
    frame = rows(2).assign(city=[["a", "b"], ["c"]])
    with pytest.raises(InputError, match=r"column 'city' .* row 0 .* joined by the separator that the model's schema"):
        score_file(server.url, "tiny", write(frame, tmp_path / "rows.parquet"), tmp_path / "scores.csv")


def test_scores_over_grpc(ranker_server: EmbeddedServer, tmp_path: Path) -> None:
    frame = pd.DataFrame({"age": 2.0, "user": "anna", "item": np.arange(1200), "price": 0.5})
    target = tmp_path / "scores.csv"
    source = write(frame, tmp_path / "rows.csv")
    assert score_file(f"grpc://{ranker_server.grpc_target}", "ranker", source, target) == 1200
    assert pd.read_csv(target)["buy"].tolist() == (1.0 + frame["item"]).tolist()


def test_standard_output_and_progress(
    server: EmbeddedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("htlnet_tf.serving.clients.scoring._ROWS_PER_REQUEST", 10)
    monkeypatch.setattr("htlnet_tf.serving.clients.scoring._ROWS_PER_REPORT", 20)
    lines: list[str] = []
    score_file(server.url, "tiny", write(rows(45), tmp_path / "r.csv"), version=1, write=lines.append)
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "city,click,length,probs_0,probs_1" and len(output) == 46
    assert lines == ["20 rows scored", "40 rows scored"]


def test_only_the_rows_of_one_request_are_in_memory(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    predict = RestClient.predict

    def noted(self: RestClient, frame: pd.DataFrame) -> pd.DataFrame:
        sizes.append(len(frame))
        return predict(self, frame)

    monkeypatch.setattr(RestClient, "predict", noted)
    for name in ("r.csv", "r.parquet"):
        score_file(server.url, "tiny", write(rows(2001), tmp_path / name), tmp_path / "scores.csv")
    assert sizes == [1000, 1000, 1] * 2


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_missing_values_are_read_as_training_reads_them(tmp_path: Path, name: str) -> None:
    frame = pd.DataFrame(
        {
            "city": ["NA", None, "null", ""],
            "count": pd.array([2**53 + 1, None, -1, 0], "Int64"),
            "price": [0.5, None, 2.0, 3.0],
        }
    )
    pieces = [piece for _, piece in RowFiles(write(frame, tmp_path / name), SIGNATURE).pieces(3)]
    assert list(map(len, pieces)) == [3, 1]
    read = pd.concat([piece.astype({"city": object}) for piece in pieces])
    assert read["city"].fillna("").tolist() == ["NA", "", "null", ""]
    assert read["count"].isna().tolist() == [False, True, False, False] and read["count"][0] == 2**53 + 1
    np.testing.assert_array_equal(read["price"], [0.5, np.nan, 2.0, 3.0])
    assert read.index.tolist() == [0, 1, 2, 3]


def test_a_refused_value_is_named_by_file_and_row(server: EmbeddedServer, tmp_path: Path) -> None:
    frame = rows(1500).astype({"price": object})
    frame.loc[1234, "price"] = "cheap"
    source = write(frame, tmp_path / "rows.csv")
    target = tmp_path / "scores.csv"
    target.write_text("old")
    with pytest.raises(InputError, match=r"rows\.csv': column 'price' must hold float .*\(index 1234\) holds 'cheap'"):
        score_file(server.url, "tiny", source, target)
    assert target.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.csv", "scores.csv"]


def test_times_and_lists_in_parquet_are_refused(server: EmbeddedServer, tmp_path: Path) -> None:
    frame = rows(3)
    times = write(frame.assign(count=pd.Timestamp("2024-01-01")), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column 'count' .*send a time as a whole number"):
        score_file(server.url, "tiny", times)
    lists = write(frame.assign(city=[["a", "b"]] * 3), tmp_path / "l.parquet")
    with pytest.raises(InputError, match=r"column 'city' .*joined by the separator"):
        score_file(server.url, "tiny", lists)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_files_that_cannot_be_scored(server: EmbeddedServer, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    cases = [
        (rows(3).drop(columns="count"), "column 'count' is missing"),
        (rows(3)[["label"]], "is missing"),
        (rows(0), "no rows in"),
    ]
    for frame, message in cases:
        with pytest.raises(InputError, match=message):
            score_file(server.url, "tiny", write(frame, path))
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        score_file(server.url, "tiny", path)
    path.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"column 'city' is missing|cannot be read as a Parquet file|the file is empty"
    ):
        score_file(server.url, "tiny", path)


def test_other_refusals(server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("city")
    with pytest.raises(InputError, match=r"a table's file must end with one of \.csv"):
        score_file(server.url, "tiny", tmp_path / "rows.txt")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"city,count,price\n" + b"x,1,2\n" * 100)[:-20])
    with pytest.raises(InputError, match="cannot be read as a CSV file"):
        score_file(server.url, "tiny", cut)
    with pytest.raises(RefusedError, match=r"Latest\(nope\)"):
        score_file(server.url, "nope", write(rows(1), tmp_path / "one.csv"))


def test_dictionaries_in_parquet(server: EmbeddedServer, tmp_path: Path) -> None:
    city, count = pa.array(["a", None, "a"]).dictionary_encode(), pa.array([1, 2, 3], pa.int32())
    table = pa.table({"city": city, "count": count, "price": [1.0] * 3})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    score_file(server.url, "tiny", tmp_path / "d.parquet", tmp_path / "s.csv", version=1)
    assert pd.read_csv(tmp_path / "s.csv")["length"].tolist() == [2, 2, 4]


def test_kept_columns_come_first_and_parquet_keeps_types(server: EmbeddedServer, tmp_path: Path) -> None:
    frame = rows(2500).assign(day=pd.Timestamp("2024-01-01"), gap=pd.array([None] * 2000 + [7] * 500, "Int64"))
    frame.loc[:1500, "note"] = None
    frame.loc[1501:, "note"] = "late"
    keep = ["label", "day", "gap", "note", "count"]
    source, target = write(frame, tmp_path / "rows.parquet"), tmp_path / "scores.parquet"
    score_file(server.url, "tiny", source, target, version=1, keep=[*keep, "label"])
    scores = pd.read_parquet(target)
    assert list(scores.columns) == [*keep, "city", "click", "length", "probs_0", "probs_1"]
    assert scores["click"].dtype == np.float32 and scores["day"].dtype.kind == "M"
    assert scores["gap"].isna().sum() == 2000 and scores["gap"].iloc[-1] == 7
    assert scores["note"].fillna("").tolist() == frame["note"].fillna("").tolist()


def test_kept_text_of_a_csv_file_stays_as_it_is(server: EmbeddedServer, tmp_path: Path) -> None:
    source = write(rows(3).assign(code=["007", "", "1e5"]), tmp_path / "rows.csv")
    score_file(server.url, "tiny", source, tmp_path / "scores.csv.gz", keep=["code"])
    lines = gzip.decompress((tmp_path / "scores.csv.gz").read_bytes()).decode().splitlines()
    assert [line.split(",")[0] for line in lines] == ["code", "007", "", "1e5"]


def test_what_cannot_be_kept_or_written(server: EmbeddedServer, tmp_path: Path) -> None:
    source = write(rows(3), tmp_path / "rows.csv")
    with pytest.raises(InputError, match="column 'city' cannot be kept: a score has the same name"):
        score_file(server.url, "tiny", source, keep=["city"])
    with pytest.raises(InputError, match="column 'nope' is missing"):
        score_file(server.url, "tiny", source, keep=["nope"])
    before = source.read_bytes()
    with pytest.raises(InputError, match="is read: write the scores to another file"):
        score_file(server.url, "tiny", source, source)
    assert source.read_bytes() == before


@pytest.mark.parametrize("path", ["", "*.csv", "**/*.csv"])
def test_folders_and_globs_are_scored_in_order_of_their_paths(
    server: EmbeddedServer, tmp_path: Path, path: str
) -> None:
    folder = tmp_path / "rows" / "day=monday"
    folder.mkdir(parents=True)
    frame = rows(7)
    write(frame[:4], folder / "a.csv")
    write(frame[4:].drop(columns="day"), folder / "b.csv")
    parent = folder.parent if path != "*.csv" else folder
    assert score_file(server.url, "tiny", f"{parent}/{path}", tmp_path / "s.csv", version=1, keep=["day"]) == 7
    scores = pd.read_csv(tmp_path / "s.csv", dtype={"city": str})
    assert scores["city"].tolist() == frame["city"].tolist() and set(scores["day"]) == {"monday"}
    (folder / "b.csv").write_text("city,count,price\nx,1,1\nx,1,cheap\n")
    with pytest.raises(InputError, match=r"day=monday/b\.csv': column 'price' .*row 1 holds 'cheap'.*--schema"):
        score_file(server.url, "tiny", f"{parent}/{path}", tmp_path / "s.csv")
    assert len(pd.read_csv(tmp_path / "s.csv")) == 7  # the old one


def test_a_column_of_another_type_in_a_later_file(server: EmbeddedServer, tmp_path: Path) -> None:
    write(rows(2).assign(note=1), tmp_path / "a.parquet")
    write(rows(2).assign(note="x"), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="column 'note': a column must be of one kind in all files"):
        score_file(server.url, "tiny", tmp_path, tmp_path / "out" / "s.parquet", keep=["note"])
    assert not (tmp_path / "out" / "s.parquet").exists()
