"""The clients' `rank` gives what `htl.rank` gives, with the items' own labels, over every transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError
from htlnet_tf.serving import AsyncRestClient, EmbeddedServer, GrpcClient, RestClient
from htlnet_tf.serving.clients.ranked import ranked_frame
from htlnet_tf.serving.clients.replies import OtherOutputsError
from htlnet_tf.serving.clients.scoring import score_file
from htlnet_tf.serving.signatures import Signature, TensorInfo

USER = {"user_id": "u3", "age": 31.5, "tab": 2}
KINDS = pytest.mark.parametrize("kind", ["REST", "asynchronous", "gRPC", "by a schema"])


@pytest.fixture(scope="module")
def server(ranked_models: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(ranked_models, port=0, grpc_port=0) as running:
        yield running


@pytest.fixture
def items(frame: pd.DataFrame) -> pd.DataFrame:
    labels = pd.Index([f"row {i}" for i in range(40)], name="row")
    return frame[:40].drop(columns=list(USER)).set_index(labels)


def ranking(kind: str, server: EmbeddedServer, schema: htl.Schema) -> Callable[..., pd.DataFrame]:
    """`rank` of one of the clients."""

    async def ask(*args: Any) -> pd.DataFrame:
        async with AsyncRestClient(server.url, "m") as client:
            return await client.rank(*args)

    def call(*args: Any) -> pd.DataFrame:
        if kind == "gRPC":
            with GrpcClient(str(server.grpc_target), "m") as remote:
                return remote.rank(*args)
        with RestClient(server.url, "m", schema=schema if kind == "by a schema" else None) as rest:
            return rest.rank(*args)

    return (lambda *args: asyncio.run(ask(*args))) if kind == "asynchronous" else call


@KINDS
def test_it_is_what_the_model_says(server: EmbeddedServer, ranked_model: Any, items: pd.DataFrame, kind: str) -> None:
    rank = ranking(kind, server, ranked_model.schema)
    expected = htl.rank(ranked_model, USER, items, 7)
    found = rank(USER, items, 7)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    assert found.index.name == "row" and (items.loc[found.index, "price"] >= 0).all()
    # A row of the log says who the user is; its other columns are nothing to this.
    row = items.head(1).assign(**USER)
    pd.testing.assert_frame_equal(rank(row, items, 7), expected, rtol=1e-5)
    assert len(rank(USER, items, 400)) == 40 and len(rank(USER, items)) == 10
    own = items[["item_id", "tag", "price"]]
    by_position = expected.set_index(items.index.get_indexer(expected.index))
    for form in (own.to_dict("list"), own.to_dict("records")):
        pd.testing.assert_frame_equal(rank(USER, form, 7), by_position, rtol=1e-5)


@KINDS
def test_refusals_are_the_same(server: EmbeddedServer, ranked_model: Any, items: pd.DataFrame, kind: str) -> None:
    rank = ranking(kind, server, ranked_model.schema)
    for k in (0, -2, 2.0, True, None):
        with pytest.raises(InputError, match="k, the number of items asked for, must be a whole number of at least 1"):
            rank(USER, items, k)
    with pytest.raises(InputError, match="column 'tab' is missing in the user"):
        rank({"user_id": "u1", "age": 2.0}, items, 3)
    with pytest.raises(InputError, match="the user must be one row, but the table of the user has 2"):
        rank(items[:2].assign(**USER), items, 3)
    with pytest.raises(InputError, match="'price'"):
        rank(USER, items.drop(columns="price"), 3)
    with pytest.raises(InputError):
        rank(USER, items[:0], 3)
    with pytest.raises(InputError, match="column 'item_id' in the user belongs to the items"):
        rank(USER | {"item_id": 3}, items, 3)


def test_a_one_row_table_is_a_user_for_candidates_too(
    server: EmbeddedServer, ranked_model: Any, items: pd.DataFrame
) -> None:
    with RestClient(server.url, "m") as client:
        one = client.predict_candidates(USER, items)
        pd.testing.assert_frame_equal(client.predict_candidates(items.head(1).assign(**USER), items), one)
    assert list(one.columns) == ["click", "buy", "spend", "score"]


def test_a_model_without_a_ranking_says_what_it_lacks(ranker_server: EmbeddedServer, items: pd.DataFrame) -> None:
    with (
        RestClient(ranker_server.url, "ranker") as client,
        pytest.raises(InputError, match="no signature 'ranked': its schema must declare a `ranking`"),
    ):
        client.rank(USER, items, 3)


def test_files_have_the_score(server: EmbeddedServer, ranked_model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame[:20].assign(score=0).to_parquet(tmp_path / "rows.parquet")
    score_file(server.url, "m", tmp_path / "rows.parquet", tmp_path / "scores.parquet", schema=ranked_model.schema)
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    expected = htl.predict(ranked_model, frame[:20])
    assert list(scores.columns) == ["click", "buy", "spend", "score"]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    with pytest.raises(InputError, match="column 'score' cannot be kept: a score has the same name"):
        score_file(
            server.url,
            "m",
            tmp_path / "rows.parquet",
            tmp_path / "other.parquet",
            schema=ranked_model.schema,
            keep=["score"],
        )


@pytest.mark.parametrize("index", [[0, 3], [-1, 0], [[0, 1]], [0.5, 1.0], [[0], 1], None])
def test_an_answer_that_is_no_ranking_is_another_models(index: Any) -> None:
    floats = TensorInfo("", "DT_FLOAT", (-1,))
    signature = Signature({}, {"index": TensorInfo("", "DT_INT32", (-1,)), "score": floats})
    outputs = {"score": [1.0, 0.5]} | ({} if index is None else {"index": index})
    with pytest.raises(OtherOutputsError, match="output 'index' must"):
        ranked_frame(outputs, signature, pd.RangeIndex(3))
