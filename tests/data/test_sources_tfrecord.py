"""TFRecord files: what TensorFlow lets pass or reports without a name."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.data import tfrecord_source
from htlnet_tf.data.sources import open_source
from htlnet_tf.data.tfrecord_writer import write_tfrecord
from htlnet_tf.errors import InputError
from tests.data.formats import SCHEMA, frame_of, read_values


def example(**features: Any) -> bytes:
    """A serialized example; a list of bytes, ints or floats per feature, None for a feature of no kind."""
    kinds = {bytes: ("bytes_list", tf.train.BytesList), int: ("int64_list", tf.train.Int64List)}
    built = {}
    for name, values in features.items():
        kind, container = kinds.get(type(values[0]) if values else None, ("float_list", tf.train.FloatList))
        built[name] = tf.train.Feature() if values is None else tf.train.Feature(**{kind: container(value=values)})
    return tf.train.Example(features=tf.train.Features(feature=built)).SerializeToString()


def save(path: Path, records: list[bytes]) -> Path:
    with tf.io.TFRecordWriter(str(path), "GZIP" if path.suffix == ".gz" else None) as writer:
        for record in records:
            writer.write(record)
    return path


def rows_of(path: Path, columns: list[str] | None = None, **arguments: Any) -> pd.DataFrame:
    chunks = open_source(path).chunks(columns, **arguments)
    return pd.concat([chunk.frame.astype(object) for chunk in chunks])


@pytest.mark.parametrize("suffix", [".tfrecord", ".tfrecord.gz"])
def test_a_file_that_is_cut_off(tmp_path: Path, suffix: str) -> None:
    content = save(tmp_path / f"whole{suffix}", [example(a=[i]) for i in range(600)]).read_bytes()
    path = tmp_path / f"x{suffix}"
    for cut in (1, 3, 5, 8, 20, 28, len(content) - 40, len(content) - 5):  # none of them between two records
        path.write_bytes(content[:-cut])
        with pytest.raises(InputError, match=f"x{suffix}'.* cannot be read as a TFRecord file: "):
            rows_of(path)
    path.write_bytes(content)
    assert rows_of(path)["a"].tolist() == list(range(600))


def test_several_gzip_streams_in_one_file(tmp_path: Path) -> None:
    parts = [save(tmp_path / f"{i}.tfrecord", [example(a=[i])]).read_bytes() for i in range(2)]
    (tmp_path / "x.tfrecord.gz").write_bytes(b"".join(gzip.compress(part) for part in parts))
    assert rows_of(tmp_path / "x.tfrecord.gz")["a"].tolist() == [0, 1]


def test_a_broken_checksum_is_named_with_its_row(tmp_path: Path) -> None:
    path = save(tmp_path / "x.tfrecord", [example(a=[1])] * 600)
    content = bytearray(path.read_bytes())
    content[len(content) // 600 * 500 + 14] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x.tfrecord', row 500: .* TFRecord file: corrupted record at \d+$"):
        rows_of(path, chunk_rows=200)


@pytest.mark.parametrize("first", [3, 500])  # within the records that say the types, and beyond them
def test_bytes_that_are_no_example(tmp_path: Path, first: int) -> None:
    path = save(tmp_path / "x.tfrecord", [example(a=[1])] * first + [b"nonsense"])
    with pytest.raises(InputError, match=rf"x.tfrecord', row {first}: the record is no tf.train.Example"):
        rows_of(path, chunk_rows=200)
    (tmp_path / "y.tfrecord").write_bytes(b"a,b\n1,2\n" * 10)
    with pytest.raises(InputError, match=r"y.tfrecord', row 0: cannot be .* corrupted record at 0"):
        rows_of(tmp_path / "y.tfrecord")


def test_a_feature_of_another_type(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.tfrecord", [example(**{"a": [1], "b.c": [2.0]})] * 500 + [example(a=[1], **{"b.c": [b"x"]})]
    )
    message = r"x.tfrecord', column 'b.c', row 500: its first records have float values, so all must; received string"
    with pytest.raises(InputError, match=message):
        rows_of(path, chunk_rows=200)
    assert len(rows_of(path, ["a"])) == 501
    other = save(tmp_path / "y.tfrecord", [example(a=[b"1"])])
    with pytest.raises(InputError, match=r"y.tfrecord', column 'a': .* string here and int64 in '.*x.tfrecord'"):
        rows_of(tmp_path, ["a"])
    assert rows_of(other, ["a"], schema=SCHEMA)["a"].tolist() == ["1"]


def test_gaps_lists_and_text_that_is_not_utf8(tmp_path: Path) -> None:
    records = [example(a=None, t=[b"x"]), example(t=[b""]), example(a=[2**63 - 1], t=None), example(a=[-1])]
    frame = rows_of(save(tmp_path / "x.tfrecord", records))
    assert read_values(frame["a"]) == [None, None, 2**63 - 1, -1]
    assert read_values(frame["t"]) == ["x", None, None, None]
    lists = rows_of(save(tmp_path / "y.tfrecord", [example(tags=[b"a", b"b"]), example(tags=[b"a,b"]), example()]))
    assert lists["tags"].tolist()[:2] == [["a", "b"], ["a,b"]]
    joined = rows_of(tmp_path / "y.tfrecord", ["tags"], schema=SCHEMA)
    assert read_values(joined["tags"]) == ["a,b", "a,b", None]  # one value with a separator is joined already
    save(tmp_path / "y.tfrecord", [example(tags=[b"a"]), example(tags=[b"a", b"b,c"])])
    with pytest.raises(InputError, match=r"column 'tags', row 1: .* joined by ','.* received 'b,c'"):
        rows_of(tmp_path / "y.tfrecord", ["tags"], schema=SCHEMA)
    save(tmp_path / "z.tfrecord", [example(t=[b"a"]), example(), example(t=[b"\xff"])])
    with pytest.raises(InputError, match=r"z.tfrecord', column 't', row 2: text must be UTF-8; received b'\\xff'"):
        rows_of(tmp_path / "z.tfrecord")


def test_a_feature_without_a_value_in_the_first_records(tmp_path: Path) -> None:
    late = tfrecord_source.HEADER_RECORDS + 10
    records = [example(whole=None, text=None, number=None)] * late + [example(whole=[7], text=[b"x"], number=[1.5])]
    frame = rows_of(save(tmp_path / "x.tfrecord", records), ["whole", "text", "number"], schema=SCHEMA)
    assert frame.iloc[-1].tolist() == [7, "x", 1.5]
    assert frame.iloc[:-1].isna().all(axis=None)


def test_what_the_writer_writes(tmp_path: Path) -> None:
    """Read back by protobuf itself; the expected features are written by hand."""
    schema = SCHEMA.with_features([*SCHEMA.features, htl.Timestamp("when", unit="s")])
    frame = frame_of(text=["ä", None], whole=[-3, None], number=[0.5, None], click=[1, None])
    frame["when"] = pd.to_datetime(["1970-01-01 00:01:40", None])
    write_tfrecord(frame, tmp_path / "x.tfrecord", schema)
    first, second = (
        tf.train.Example.FromString(record).features.feature
        for record in tf.data.TFRecordDataset(str(tmp_path / "x.tfrecord")).as_numpy_iterator()
    )
    assert set(first) == set(second) == set(schema.columns)
    assert list(first["text"].bytes_list.value) == ["ä".encode()]
    assert list(first["tags"].bytes_list.value) == [b"a", b"b"]
    assert list(first["whole"].int64_list.value) == [-3]
    assert list(first["number"].float_list.value) == [0.5]
    assert list(first["click"].int64_list.value) == [1]
    assert list(first["when"].int64_list.value) == [100]
    for name, kind in (
        ("text", "bytes_list"),
        ("whole", "int64_list"),
        ("number", "float_list"),
        ("when", "int64_list"),
    ):
        assert second[name].WhichOneof("kind") == kind
        assert not getattr(second[name], kind).value
    with pytest.raises(InputError, match="column 'text' is missing"):
        write_tfrecord(frame.drop(columns="text"), tmp_path / "y.tfrecord", schema)
    assert not (tmp_path / "y.tfrecord").exists()
