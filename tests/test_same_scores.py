"""A table, in whatever types it comes, has one score per row: in memory, exported, over every client, in files."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.export.signatures import SIGNATURES
from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, GrpcClient, RestClient
from htlnet_tf.serving.clients.scoring import score_file
from htlnet_tf.serving.server.servables import LoadedVersion

ROWS = 60
SCORES = ["visit", "stars_0", "stars_1", "stars_2", "amount"]  # in no order of the alphabet
SCHEMA = htl.Schema(
    features=[
        htl.Categorical("user_id", column="Kunde", group="user", min_count=1),
        htl.Categorical("item_id", min_count=1),
        htl.Sequence("history", group="user", shares="item_id", separator=",", max_length=3, pooling="max"),
        htl.Categorical("tags", separator="|", min_count=1, pooling="sum"),
        htl.Categorical("city", group="user", encoding="hash", num_buckets=16, missing_values=("?",)),
        htl.Categorical("member", group="user", min_count=1),
        htl.Numeric("age", group="user"),
        htl.Numeric("price", decimal=",", log1p=True, column="Preis"),
        htl.Numeric("rating", quantile_buckets=4),
        htl.Timestamp("when", column="shown at", unit="ms", group="context"),
        htl.Timestamp("day", unit="s", format="%d.%m.%Y", parts=("weekday",), group="context"),
        htl.Cross("city_member", of=("city", "member"), num_buckets=32),
    ],
    targets=[htl.Binary("visit"), htl.Multiclass("stars", num_classes=3), htl.Continuous("amount")],
    statistics=htl.HistoryStatistics(of=("user_id", "history", "tags", "city_member")),
)


def values(rows: int = ROWS) -> dict[str, list[Any]]:
    """By the table's names, values as Python has them; None is missing."""
    random = np.random.default_rng(0)
    users = [uuid.UUID(int=i) for i in range(8)]
    start = datetime.datetime(2024, 5, 1, 9)

    def gaps(column: list[Any], every: int) -> list[Any]:
        return [None if i % every == every - 1 else value for i, value in enumerate(column)]

    return {
        "Kunde": gaps([users[i] for i in random.integers(0, 8, rows)], 7),
        "item_id": gaps((2**53 + random.integers(0, 9, rows)).tolist(), 11),
        "history": gaps([[int(i) for i in 2**53 + random.integers(0, 9, i % 4)] for i in range(rows)], 9),
        "tags": gaps([list(random.choice(["new", "eco", "a,b"], i % 3)) for i in range(rows)], 8),
        "city": gaps(random.choice(["Köln", "oslo", "?", "7"], rows).tolist(), 6),
        "member": gaps((random.random(rows) < 0.5).tolist(), 10),
        "age": gaps(random.integers(18, 90, rows).astype(float).tolist(), 5),
        "Preis": gaps((random.integers(0, 4000, rows) / 4).tolist(), 12),
        "rating": gaps((random.integers(0, 20, rows) / 4).tolist(), 13),
        "shown at": gaps([start + datetime.timedelta(minutes=37 * i) for i in range(rows)], 14),
        "day": gaps([datetime.datetime(2024, 5, 1) + datetime.timedelta(days=i) for i in range(rows)], 15),
    }


Column = Callable[[list[Any]], pd.Series]


def each(convert: Callable[[Any], Any]) -> Column:
    """An object column of what becomes of each value."""

    def column(given: list[Any]) -> pd.Series:
        made = np.empty(len(given), object)
        for i, value in enumerate(given):
            made[i] = None if value is None else convert(value)
        return pd.Series(made)

    return column


def typed(dtype: Any, convert: Callable[[Any], Any] = lambda value: value) -> Column:
    """A column of a dtype of pandas or Arrow."""
    if isinstance(dtype, pa.DataType):
        return lambda given: pd.Series(
            pd.arrays.ArrowExtensionArray(pa.array([None if v is None else convert(v) for v in given], dtype))
        )
    return lambda given: pd.Series([None if v is None else convert(v) for v in given], dtype=dtype)


def written(mark: str) -> Column:
    return each(lambda value: str(value).replace(".", mark))


def moments(dtype: str) -> Column:
    def column(given: list[Any]) -> pd.Series:
        naive = pd.Series(pd.to_datetime(pd.Series(given, dtype="object"))).astype(f"datetime64[{dtype.split(',')[0]}]")
        return naive.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo") if dtype.endswith(",zone") else naive

    return column


def nested(make: Callable[[list[Any]], Any]) -> Column:
    return each(make)


UNITS = ["s", "ms", "us", "ns", "us,zone", "ns,zone"]
FORMS: dict[str, list[Column]] = {
    "Kunde": [
        each(lambda v: v),
        each(str),
        typed("string", str),
        typed("category", str),
        typed(pa.string(), str),
        typed(pa.dictionary(pa.int32(), pa.string()), str),
    ],
    "item_id": [
        each(lambda v: v),
        typed("Int64"),
        typed("category"),
        typed(pa.int64()),
        each(Decimal),
        typed(pa.decimal128(38, 0), Decimal),
        each(np.int64),
        each(np.uint64),
    ],
    "history": [
        nested(list),
        nested(tuple),
        nested(lambda v: np.array(v, np.int64)),
        nested(lambda v: ",".join(map(str, v))),
        typed(pa.list_(pa.int64())),
    ],
    "tags": [
        nested(list),
        nested(tuple),
        nested(lambda v: np.array(v, object)),
        nested("|".join),
        typed("string", "|".join),
    ],
    "city": [each(str), typed("string"), typed("category"), typed(pa.large_string()), each(lambda v: v.encode())],
    "member": [
        each(bool),
        typed("boolean"),
        typed("Int64", int),
        typed("float64", float),
        typed(pa.bool_()),
        each(Decimal),
    ],
    "age": [
        typed("float64"),
        typed("Float64"),
        typed("Int64", int),
        typed("float32"),
        typed(pa.float64()),
        each(Decimal),
        written("."),
        typed(pa.decimal128(10, 2), Decimal),
    ],
    "Preis": [typed("float64"), written(","), typed("string", lambda v: str(v).replace(".", ",")), each(Decimal)],
    "rating": [typed("float64"), typed("Float64"), each(lambda v: f" {v}"), typed("category"), typed(pa.float32())],
    "shown at": [
        *map(moments, UNITS),
        each(lambda v: v),
        each(lambda v: v.isoformat()),
        each(lambda v: f"{v.isoformat()}Z"),
        each(lambda v: int(v.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)),
        typed("Int64", lambda v: int(v.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000)),
        typed(pa.timestamp("ms")),
        typed(pa.timestamp("us", "UTC")),
    ],
    "day": [
        *map(moments, UNITS[:4]),
        each(lambda v: v.strftime("%d.%m.%Y")),
        typed("string", lambda v: v.strftime("%d.%m.%Y")),
    ],
}
PLAIN = {name: forms[0] for name, forms in FORMS.items()}
IN_CSV = PLAIN | {
    "Kunde": FORMS["Kunde"][1],
    "history": FORMS["history"][3],
    "tags": FORMS["tags"][3],
    "Preis": written(","),
    "day": FORMS["day"][4],
}


# Which form each column has; numbers, so that a failure can be read.
DRAWN = st.fixed_dictionaries({name: st.integers(0, len(forms) - 1) for name, forms in FORMS.items()})


def chosen(drawn: dict[str, int]) -> dict[str, Column]:
    return {name: FORMS[name][number] for name, number in drawn.items()}


def table(forms: dict[str, Column]) -> pd.DataFrame:
    return pd.DataFrame({name: forms[name](column) for name, column in values().items()})


class World(NamedTuple):
    """A model, its export, and a server of it."""

    model: Any
    loaded: LoadedVersion
    server: EmbeddedServer
    clients: dict[str, Any]
    expected: pd.DataFrame


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    import tensorflow as tf

    frame = table(PLAIN)
    random = np.random.default_rng(1)
    labels = {"visit": random.integers(0, 2, ROWS), "stars": random.integers(0, 3, ROWS), "amount": random.random(ROWS)}
    tf.keras.utils.set_random_seed(0)
    encoder = htl.FeatureEncoder.fit(SCHEMA, frame.assign(**labels))
    model = htl.SharedBottom(SCHEMA, encoder, embedding_dim=4, tower_units=(8,))  # the model is nothing to this test
    for weight in model.trainable_variables:  # far from their start, so that no field is without effect
        weight.assign(tf.random.normal(weight.shape, stddev=0.3))
    models = tmp_path_factory.mktemp("models")
    version = htl.export.export_model(model, models / "m", rows=frame, warmup_rows=())
    loaded = LoadedVersion(version.path)
    with EmbeddedServer(models, port=0, grpc_port=0) as server:
        clients = {
            "REST": RestClient(server.url, "m", schema=SCHEMA),
            "gRPC": GrpcClient(str(server.grpc_target), "m", schema=SCHEMA),
            "plain": RestClient(server.url, "m"),
        }
        yield World(model, loaded, server, clients, htl.predict(model, frame))
        for client in clients.values():
            client.close()
    loaded.close()


def assert_equal(scores: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(scores.columns) == SCORES
    np.testing.assert_allclose(scores.to_numpy(float), expected.to_numpy(float), rtol=1e-5, atol=1e-6)


@settings(max_examples=25)
@given(DRAWN)
def test_one_score_whatever_the_types(world: World, drawn: dict[str, int]) -> None:
    frame = table(chosen(drawn))
    assert_equal(htl.predict(world.model, frame), world.expected)
    assert_equal(world.clients["REST"].predict(frame), world.expected)
    assert_equal(world.clients["gRPC"].predict(frame), world.expected)
    records = frame.to_dict("records")
    assert_equal(world.clients["REST"].predict(records), world.expected)
    assert_equal(world.clients["gRPC"].predict(frame.to_dict("series"), "examples"), world.expected)
    raw = raw_features(frame, world.model.encoder.schema)
    outputs = world.loaded.run("serving_default", SIGNATURES["serving_default"].feeds(world.model.encoder, raw))
    served = np.column_stack([outputs[target.name] for target in SCHEMA.targets])
    np.testing.assert_allclose(served, world.expected.to_numpy(), rtol=1e-5, atol=1e-6)
    # What has no units and separators, and the features' own names, needs no schema.
    assert_equal(world.clients["plain"].predict(dict(raw)), world.expected)


@settings(max_examples=6)
@given(DRAWN)
def test_files_score_alike(world: World, tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, int]) -> None:
    folder = tmp_path_factory.mktemp("files")
    # Arrow writes no column of Python's UUIDs.
    forms = chosen(drawn)
    in_parquet = forms | ({"Kunde": IN_CSV["Kunde"]} if forms["Kunde"] is PLAIN["Kunde"] else {})
    table(in_parquet).to_parquet(folder / "rows.parquet")
    table(IN_CSV).assign(note=[f"{i:03}" for i in range(ROWS)]).to_csv(folder / "rows.csv", index=False)
    rest, grpc = world.server.url, f"grpc://{world.server.grpc_target}"
    score_file(rest, "m", folder / "rows.parquet", folder / "a.parquet", schema=SCHEMA)
    assert_equal(pd.read_parquet(folder / "a.parquet"), world.expected)
    score_file(grpc, "m", folder / "rows.csv", folder / "scores" / "b.csv", schema=SCHEMA, keep=["note"])
    scores = pd.read_csv(folder / "scores" / "b.csv", dtype={"note": str})
    assert scores.pop("note").tolist() == [f"{i:03}" for i in range(ROWS)]
    assert_equal(scores, world.expected)


@pytest.mark.parametrize("kind", ["REST", "gRPC", "asynchronous"])
def test_candidates_by_a_schema(world: World, kind: str) -> None:
    frame = table(PLAIN)
    shared = [f.source for f in SCHEMA.inputs if f.group != "item"]
    user = {name: column[3] for name, column in values().items() if name in shared}
    items = frame.drop(columns=shared)

    async def ask() -> pd.DataFrame:
        async with AsyncRestClient(world.server.url, "m", schema=SCHEMA) as client:
            return await client.predict_candidates(user, items)

    scores = asyncio.run(ask()) if kind == "asynchronous" else world.clients[kind].predict_candidates(user, items)
    repeated = pd.DataFrame({name: [user[name]] * ROWS for name in shared}).astype({"history": object})
    assert_equal(scores, htl.predict(world.model, pd.concat([items, repeated], axis=1)))


@pytest.mark.parametrize("kind", ["REST", "gRPC"])
def test_refusals_by_a_schema_name_column_and_row(world: World, kind: str) -> None:
    client = world.clients[kind]
    rows = table(PLAIN).to_dict("records")
    for name, value, rule in [
        ("Preis", "12.50", "with a decimal comma"),
        ("day", "2024-05-01", "%d.%m.%Y"),
        ("tags", ["a|b"], "joined by '|'"),
        ("shown at", "yesterday", "is a timestamp"),
        ("item_id", 0.5, "whole numbers"),
    ]:
        with pytest.raises(InputError) as caught:
            client.predict([rows[0], rows[1] | {name: value}])
        assert f"column '{name}', row 1 " in str(caught.value) and rule in str(caught.value)
    with pytest.raises(InputError, match="column 'Kunde' is missing in row 1"):
        client.predict([rows[0], {name: value for name, value in rows[1].items() if name != "Kunde"}])
    with pytest.raises(InputError, match="column 'kunde' in row 0 is unknown"):
        client.predict([rows[0] | {"kunde": 1}])
    client.predict([rows[0] | {"visit": 1}])  # tables come with their labels
    user = {name: rows[0][name] for name in ("Kunde", "history", "city", "member", "age", "shown at", "day")}
    items = [{name: rows[0][name] for name in rows[0] if name not in user}]
    with pytest.raises(InputError, match="column 'age' of the user: feature 'age' is numeric; received 'old'"):
        client.predict_candidates(user | {"age": "old"}, items)
    with pytest.raises(InputError, match="column 'tags' in the user belongs to the items"):
        client.predict_candidates(user | {"tags": "eco"}, items)
    with pytest.raises(InputError, match=r"column 'Preis', row 0 .*decimal comma"):
        client.predict_candidates(user, [items[0] | {"Preis": "1.5"}])


def test_each_row_may_be_written_in_its_own_way(world: World) -> None:
    tables = [table({name: forms[i % len(forms)] for name, forms in FORMS.items()}) for i in range(9)]
    records = [frame.iloc[row].to_dict() for row in range(ROWS) for frame in [tables[row % len(tables)]]]
    assert_equal(world.clients["REST"].predict(records), world.expected)
    assert_equal(htl.predict(world.model, pd.DataFrame(records, dtype=object)), world.expected)


def test_another_schema_is_refused(world: World, tmp_path: Path) -> None:
    other = SCHEMA.with_features(f for f in SCHEMA.features if f.name != "rating")
    other.to_yaml(tmp_path / "other.yaml")
    with (
        RestClient(world.server.url, "m", schema=tmp_path / "other.yaml") as client,
        pytest.raises(InputError, match="the schema must be the one that the model was trained with"),
    ):
        client.predict(table(PLAIN))
    with pytest.raises(InputError, match="is no run folder"):
        RestClient(world.server.url, "m", schema=tmp_path)


def test_without_a_schema_times_and_lists_ask_for_one(world: World) -> None:
    raw = {name: array[:2] for name, array in raw_features(table(PLAIN), world.model.encoder.schema).items()}
    for name, value in [("tags", [["eco"], []]), ("when", pd.to_datetime(["2024-05-01", "2024-05-02"]))]:
        with pytest.raises(InputError, match=rf"column '{name}' .*row 0 .*schema="):
            world.clients["plain"].predict(raw | {name: value})
