"""The three clients take the same things for the same methods, and refuse the same in the same words."""

from __future__ import annotations

import asyncio
import decimal
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf

from htlnet_tf.errors import InputError
from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, GrpcClient, RestClient
from htlnet_tf.serving.clients.column_values import converted
from htlnet_tf.serving.clients.scoring import score_file
from htlnet_tf.serving.signatures import TensorInfo

Predict = Callable[..., pd.DataFrame]
ROWS = [
    {"age": 2.0, "user": "anna", "item": 1, "price": 10.0},
    {"age": 3.0, "user": None, "item": None, "price": 0.5},
]


@pytest.fixture(scope="module")
def tiny_server(models: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(models, port=0, grpc_port=0) as running:
        yield running


def predict(kind: str, server: EmbeddedServer, model: str) -> Predict:
    """`predict` of one of the clients."""
    if kind == "asynchronous":

        async def ask(*args: Any) -> pd.DataFrame:
            async with AsyncRestClient(server.url, model) as client:
                return await client.predict(*args)

        return lambda *args: asyncio.run(ask(*args))

    def call(*args: Any) -> pd.DataFrame:
        with RestClient(server.url, model) if kind == "REST" else GrpcClient(str(server.grpc_target), model) as client:
            return client.predict(*args)

    return call


KINDS = pytest.mark.parametrize("kind", ["REST", "asynchronous", "gRPC"])


@KINDS
def test_rows_are_taken_as_examples(ranker_server: EmbeddedServer, kind: str) -> None:
    ask = predict(kind, ranker_server, "ranker")
    frame = pd.DataFrame(ROWS, index=["a", "b"]).assign(label=1)
    scores = ask(frame, "examples")
    pd.testing.assert_frame_equal(scores, ask(frame))
    assert scores["buy"]["a"] == 21.0 and scores["name"].tolist() == ["anna1", str(-(2**63))]  # by hand
    pd.testing.assert_frame_equal(ask(ROWS, "examples").set_index(frame.index), scores)
    with pytest.raises(InputError, match="column 'price' must hold float values, but row 1 holds 'cheap'"):
        ask([ROWS[0], {**ROWS[1], "price": "cheap"}], "examples")


@KINDS
@pytest.mark.parametrize("signature", ["classify", "regress"])
def test_what_classify_and_regress_want_is_said(tiny_server: EmbeddedServer, kind: str, signature: str) -> None:
    ask = predict(kind, tiny_server, "tiny")
    example = tf.train.Example()
    example.features.feature["a"].float_list.value.append(0.5)
    packed = example.SerializeToString()
    wanted = {"classify": ["classes_0", "classes_1", "scores_0", "scores_1"], "regress": ["outputs"]}[signature]
    for rows in ({"inputs": [packed, packed]}, [{"inputs": packed}] * 2, pd.DataFrame({"inputs": [packed] * 2})):
        scores = ask(rows, signature)
        assert len(scores) == 2 and scores.columns.tolist() == wanted
    sentence = (
        f"signature '{signature}' takes serialized tf.Examples, as bytes in the column 'inputs', one per row; "
        "rows are taken by 'serving_default'"
    )
    for refused in ([{"a": 0.5}], pd.DataFrame({"a": [0.5]}), {"a": [0.5]}):
        with pytest.raises(InputError) as caught:
            ask(refused, signature)
        assert str(caught.value) == sentence


@KINDS
def test_decimals_are_numbers_and_uuids_are_text(ranker_server: EmbeddedServer, kind: str) -> None:
    ask = predict(kind, ranker_server, "ranker")
    one, big = uuid.UUID(int=7), Decimal(2**53 + 1)
    rows = {
        "age": [Decimal("2.50"), Decimal("NaN")],
        "user": [one, Decimal("12.00")],
        "item": [big, Decimal("-9223372036854775807")],
        "price": [Decimal("12.50"), 1],
    }
    scores = ask(rows)
    # As text, so that no float is in the way.
    assert scores["name"].tolist() == [f"{one}{2**53 + 1}", "12-9223372036854775807"]
    assert scores["click"][0] == 36 + 2 * 2.5 and np.isnan(scores["click"][1])
    pd.testing.assert_frame_equal(ask(rows, "examples"), scores)
    for name, value in (("item", Decimal("1.5")), ("item", Decimal("1e30")), ("user", Decimal("1.5"))):
        with pytest.raises(InputError, match=rf"column '{name}' must hold .* but row 0 holds Decimal\('1"):
            ask([{**ROWS[0], name: value}])


@pytest.mark.parametrize("value", ["1E+1000000", "-1E+999999", "Infinity", "sNaN", "1E-1000000"])
def test_decimals_at_the_edge(value: str) -> None:
    info = TensorInfo("", "DT_INT64", (-1,))
    with decimal.localcontext() as context:
        context.prec = 3  # fewer digits than the numbers have
        if value == "sNaN":
            assert converted("x", [Decimal(value)], info, str) == [-(2**63)]
        else:
            with pytest.raises(InputError, match="column 'x' must hold int64 values"):
                converted("x", [Decimal(value)], info, str)
        assert converted("x", [Decimal(2**62 + 1)], info, str) == [2**62 + 1]


@pytest.mark.parametrize("stored", [True, False], ids=["with Arrow's schema", "without"])
def test_a_file_of_decimals_and_uuids_is_scored(ranker_server: EmbeddedServer, tmp_path: Path, stored: bool) -> None:
    ids = [uuid.UUID(int=place) for place in range(3)]
    table = pa.table(
        {
            "age": pa.array([Decimal("1.5"), None, Decimal("2.0")], pa.decimal128(10, 2)),
            "user": pa.array([one.bytes for one in ids], pa.uuid()),
            "item": pa.array([2**53 + 1, 2**53 + 2, None], pa.decimal128(38, 0)),
            "price": pa.array([Decimal("12.50")] * 3, pa.decimal256(50, 2)),
        }
    )
    source = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(table, source, store_schema=stored)
    for url in (ranker_server.url, f"grpc://{ranker_server.grpc_target}"):
        assert score_file(url, "ranker", source, tmp_path / "scores.csv") == 3
        names = pd.read_csv(tmp_path / "scores.csv")["name"].tolist()
        assert names == [f"{ids[0]}{2**53 + 1}", f"{ids[1]}{2**53 + 2}", f"{ids[2]}{-(2**63)}"]
