"""The shared embedding: every pooling and mixed widths against plain autodiff on dense float64 tables, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import htlnet_tf as htl
from htlnet_tf.encoding.layout import EmbeddingLayout, Field, Table
from htlnet_tf.layers.embedding_tables import EmbeddingTables, shared_embedding
from htlnet_tf.layers.shared_embedding import SharedEmbedding
from htlnet_tf.optimizers.lazy_adam import _rows_are_distinct
from htlnet_tf.schema.features import Pooling
from tests import reference

DIM = 3  # the model's
POOLING: list[Pooling] = ["mean", "sum", "max"]
REDUCE = {"mean": tf.reduce_mean, "sum": tf.reduce_sum, "max": tf.reduce_max}


def lay_out(fields: list[Field], rows: list[int]) -> EmbeddingLayout:
    """One table per declared width; `rows` holds a size for each."""
    tables: list[Table] = []
    for dim, size in zip(dict.fromkeys(f.dim for f in fields), rows, strict=False):
        members = tuple(i for i, f in enumerate(fields) if f.dim == dim)
        tables.append(Table(sum(t.rows for t in tables), size, dim, members))
    return EmbeddingLayout(tuple(fields), tuple(tables))


def draw_ids(layout: EmbeddingLayout, batch: int, seed: int) -> np.ndarray:
    """Lists of every length from one, with repeated values, and gaps after the first slot."""
    random = np.random.default_rng(seed)
    columns: list[Any] = [None] * len(layout.fields)
    for table in layout.tables:
        for i in table.fields:
            ids = table.start + random.integers(1, table.rows, (batch, layout.fields[i].slots))
            ids[:, 1:] = np.where(random.random(ids[:, 1:].shape) < 0.4, table.start, ids[:, 1:])
            columns[i] = ids
    return np.concatenate(columns, axis=1).astype(np.int32)


def build(layout: EmbeddingLayout, seed: int, portable: bool = False) -> Any:
    """A layer whose tables hold few different numbers, so that maxima are attained several times."""
    layer: Any = shared_embedding(layout, DIM)
    layer(tf.constant(draw_ids(layout, 1, seed)))
    layer.portable = portable
    random = np.random.default_rng(seed)
    for table in layer.tables:
        table.assign(random.integers(-2, 3, table.shape) * 0.5)
        table.scatter_update(tf.IndexedSlices(tf.fill([1, table.shape[1]], 99.0), [0]))  # padding must never be seen
    return layer


def embed_plainly(layout: EmbeddingLayout, tables: list[tf.Tensor], ids: np.ndarray) -> tf.Tensor:
    """From the definition, impression by impression and field by field: table after table, only the used slots."""
    splits = np.split(ids, np.cumsum(layout.slots)[:-1], axis=1)
    rows = []
    for b in range(len(ids)):
        pooled = []
        for table, values in zip(layout.tables, tables, strict=True):
            for i in table.fields:
                local = splits[i][b] - table.start
                looked_up = tf.gather(values, local[local != 0] if len(local) > 1 else local)
                pooled.append(REDUCE[layout.fields[i].pooling](looked_up, axis=0))
        rows.append(tf.concat(pooled, axis=0))
    return tf.stack(rows)


def dense_gradients(layout: EmbeddingLayout, layer: Any, ids: np.ndarray, upstream: list[np.ndarray]) -> Any:
    """The output, and per task the gradients at the tables, by autodiff in float64."""
    tables = [tf.constant(t.numpy(), tf.float64) for t in layer.tables]
    gradients = []
    for g in upstream:
        with tf.GradientTape() as tape:
            tape.watch(tables)
            output = embed_plainly(layout, tables, ids)
            loss = tf.reduce_sum(output * g)
        dense = tape.gradient(loss, tables)
        gradients.append([tf.convert_to_tensor(d).numpy() for d in dense])
    return output.numpy(), gradients


def check(layout: EmbeddingLayout, ids: np.ndarray, seed: int, portable: bool) -> None:
    layer = build(layout, seed, portable)
    random = np.random.default_rng(seed)
    upstream = [random.normal(size=(len(ids), layer.width)) for _ in range(3)]
    expected, dense = dense_gradients(layout, layer, ids, upstream)

    touched = layer.touched(tf.constant(ids))
    np.testing.assert_allclose(layer(tf.constant(ids)), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(layer.embed(touched), expected, rtol=1e-6, atol=1e-6)

    rows = layer.row_gradients(touched, [tf.constant(g, tf.float32) for g in upstream])
    flat = np.asarray([np.concatenate([d.ravel() for d in task]) for task in dense])
    np.testing.assert_allclose(layer.gram(rows), flat @ flat.T, rtol=1e-5, atol=1e-4)

    per_table = [(touched, rows)] if len(layout.tables) == 1 else list(zip(touched, rows, strict=True))
    for g, (own, gradients) in enumerate(per_table):
        unique, values = own.unique.numpy(), layer.tables[g].numpy()
        assert len(set(unique)) == len(unique)
        actual = np.reshape(gradients, [3, len(unique), values.shape[1]])
        for t in range(3):
            np.testing.assert_allclose(actual[t], dense[t][g][unique], rtol=1e-5, atol=1e-5)
            assert (np.delete(dense[t][g], unique, axis=0) == 0).all()
            if max(layout.fields[i].slots for i in layout.tables[g].fields) > 1:
                assert (actual[t][unique == 0] == 0).all()

    coefficients = np.asarray([0.5, -1.0, 2.0])
    combined = layer.combine(touched, rows, tf.constant(coefficients, tf.float32), l2=0.25)
    for g, slices in enumerate(combined):
        unique, table = slices.indices.numpy(), layer.tables[g].numpy()
        total = sum(c * task[g] for c, task in zip(coefficients, dense, strict=True)) + 0.5 * table
        np.testing.assert_allclose(slices.values, total[unique], rtol=1e-5, atol=2e-5)
        assert slices.dense_shape.numpy().tolist() == list(table.shape)


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("pooling", POOLING)
def test_one_pooling_against_autodiff(pooling: Pooling, portable: bool) -> None:
    layout = lay_out([Field("a", 4, pooling), Field("b"), Field("c", 2, pooling), Field("d", 2, pooling)], [7])
    check(layout, draw_ids(layout, 12, 0), 0, portable)


@pytest.mark.parametrize("portable", [False, True])
def test_widths_and_poolings_mixed_against_autodiff(portable: bool) -> None:
    fields = [
        Field("a"),
        Field("b", 3, "max", 2),
        Field("c", 5, "sum"),
        Field("d", 1, "mean", 4),
        Field("e", 2, "max"),
        Field("f", 4, "mean", 2),
        Field("g", 1, "max", 2),
    ]
    layout = lay_out(fields, [8, 5, 6])
    assert isinstance(shared_embedding(layout, DIM), EmbeddingTables)
    assert shared_embedding(layout, DIM).width == 3 * DIM + 3 * 2 + 4
    check(layout, draw_ids(layout, 20, 1), 1, portable)


fields_drawn = st.builds(
    Field, st.just("f"), st.integers(1, 4), st.sampled_from(POOLING), st.sampled_from([None, None, 1, 2, DIM])
)


@settings(max_examples=60)
@given(
    st.lists(fields_drawn, min_size=1, max_size=6),
    st.lists(st.integers(2, 6), min_size=4, max_size=4),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_any_layout_against_autodiff(
    fields: list[Field], rows: list[int], batch: int, seed: int, portable: bool
) -> None:
    layout = lay_out(fields, rows)
    check(layout, draw_ids(layout, batch, seed), seed, portable)


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(
    ("pooling", "output", "gradients"),
    [
        # Rows a = (4, 1) twice and b = (1, 4), a padded slot; the loss is e . (6, 12).
        ("mean", [3.0, 2.0], {1: [4.0, 8.0], 2: [2.0, 4.0]}),
        ("sum", [9.0, 6.0], {1: [12.0, 24.0], 2: [6.0, 12.0]}),
        ("max", [4.0, 4.0], {1: [6.0, 0.0], 2: [0.0, 12.0]}),
    ],
)
def test_a_repeated_value_by_hand(pooling: Pooling, output: Any, gradients: dict[int, Any], portable: bool) -> None:
    layer = SharedEmbedding(3, [4], 2, pooling=[pooling])
    touched = by_hand(layer, [[50.0, 50.0], [4.0, 1.0], [1.0, 4.0]], [[1, 2, 1, 0]])
    layer.portable = portable
    assert layer.embed(touched).numpy().tolist() == [output]
    actual = np.reshape(layer.row_gradients(touched, [tf.constant([[6.0, 12.0]])]), [3, 2])
    expected = [gradients.get(int(row), [0.0, 0.0]) for row in touched.unique]
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize("portable", [False, True])
def test_equal_maxima_share_the_gradient_slot_by_slot(portable: bool) -> None:
    # First component: two slots of row 1 and one of row 2 are equal, so row 1 gets two thirds; second: row 2 alone.
    layer = SharedEmbedding(4, [3], 2, pooling=["max"])
    touched = by_hand(layer, [[9.0, 9.0], [1.0, 2.0], [1.0, 5.0], [0.0, 0.0]], [[1, 2, 1]])
    layer.portable = portable
    actual = np.reshape(layer.row_gradients(touched, [tf.constant([[6.0, 8.0]])]), [2, 2])
    np.testing.assert_allclose(actual, [[4.0, 0.0], [2.0, 8.0]], rtol=1e-6)


@pytest.mark.parametrize("pooling", POOLING)
def test_a_list_without_any_used_slot_is_zero_and_gives_no_gradient(pooling: Pooling) -> None:
    # The encoder never makes one: a list without values has its missing row. No infinity may come of it all the same.
    layer = SharedEmbedding(2, [2], 2, pooling=[pooling])
    touched = by_hand(layer, [[7.0, 7.0], [1.0, 1.0]], [[0, 0]])
    assert layer(tf.constant([[0, 0]])).numpy().tolist() == [[0.0, 0.0]]
    assert layer.embed(touched).numpy().tolist() == [[0.0, 0.0]]
    assert layer.row_gradients(touched, [tf.ones([1, 2])]).numpy().tolist() == [[0.0, 0.0]]


def by_hand(layer: Any, table: list[list[float]], ids: list[list[int]]) -> Any:
    layer(tf.constant(ids))
    layer.table.assign(table)
    return layer.touched(tf.constant(ids))


def test_the_gram_matrix_of_two_tables_by_hand() -> None:
    layout = EmbeddingLayout((Field("a"), Field("b", dim=1)), (Table(0, 3, None, (0,)), Table(3, 2, 1, (1,))))
    layer: Any = shared_embedding(layout, 2)
    ids = tf.constant([[1, 4], [1, 4], [2, 4]])
    layer(ids)
    touched = layer.touched(ids)
    upstream = [
        tf.constant([[1.0, 0.0, 2.0], [1.0, 0.0, 0.0], [0.0, 3.0, 1.0]]),
        tf.constant([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    ]
    rows = layer.row_gradients(touched, upstream)
    # Rows 1 and 2 of the first table, row 1 of the second: (2, 0 | 0, 3 | 3) and (2, 1 | 0, 1 | -1).
    assert [part.numpy().tolist() for part in rows] == [[[2, 0, 0, 3], [2, 1, 0, 1]], [[3], [-1]]]
    assert layer.gram(rows).numpy().tolist() == [[22.0, 4.0], [4.0, 7.0]]
    first, second = layer.combine(touched, rows, tf.constant([1.0, 2.0]))
    assert (first.indices.numpy().tolist(), first.values.numpy().tolist()) == ([1, 2], [[6.0, 2.0], [0.0, 5.0]])
    assert (second.indices.numpy().tolist(), second.values.numpy().tolist()) == ([1], [[1.0]])


def test_a_graph_proves_that_the_rows_are_distinct_and_xla_runs_it() -> None:
    layout = lay_out([Field("a", 3, "max"), Field("b", 2, "sum", 2), Field("c")], [5, 4])
    layer = build(layout, 0)
    ids = tf.constant(draw_ids(layout, 6, 0))
    upstream = [tf.random.stateless_normal([6, layer.width], [t, 0]) for t in range(2)]
    proofs = []

    def step(ids: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        touched = layer.touched(ids)
        rows = layer.row_gradients(touched, upstream)
        gram = layer.gram(rows)
        combined = layer.combine(touched, rows, gram[0], l2=0.1)
        proofs.extend(_rows_are_distinct(slices) for slices in combined)
        return gram, [tf.convert_to_tensor(slices) for slices in combined]

    gram, dense = tf.function(step)(ids)
    assert proofs == [True, True]
    layer.portable = True
    compiled_gram, compiled_dense = tf.function(step, jit_compile=True)(ids)
    np.testing.assert_allclose(compiled_gram, gram, rtol=1e-5)
    for a, b in zip(compiled_dense, dense, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_layouts_that_are_not() -> None:
    a, b = Field("a"), Field("b", dim=2)
    with pytest.raises(ValueError, match=r"without gaps: expected start 3, received Table\(start=4"):
        EmbeddingLayout((a, b), (Table(0, 3, None, (0,)), Table(4, 3, 2, (1,))))
    with pytest.raises(ValueError, match="as wide as its table"):
        EmbeddingLayout((a, b), (Table(0, 3, None, (0, 1)),))
    with pytest.raises(ValueError, match=r"each of 2 fields reads one table, received the fields \[0\]"):
        EmbeddingLayout((a, b), (Table(0, 3, None, (0,)),))
    with pytest.raises(ValueError, match="ascending"):
        EmbeddingLayout((a, a), (Table(0, 3, None, (1, 0)),))


@pytest.fixture
def two_widths(schema: htl.Schema, frame: pd.DataFrame) -> tuple[Callable[..., Any], Any]:
    """A model whose rows are 10 and 4 wide, and a batch of 64."""
    declared = {
        "item_id": htl.Categorical("item_id", embedding_dim=4),
        "tag": htl.Categorical("tag", separator=",", pooling="max", embedding_dim=4),
    }
    mixed = schema.with_features(tuple(declared.get(f.name, f) for f in schema.features))
    core = htl.Continuous("spend", objective="squared", non_negative=False)
    mixed = mixed.with_targets((*mixed.targets[:-1], core))
    encoder = htl.FeatureEncoder.fit(mixed, frame)

    def make(**arguments: Any) -> Any:
        tf.keras.utils.set_random_seed(0)
        model = htl.HTLNet(mixed, encoder, **({"tower_units": (16, 8), "label_embedding": "expected"} | arguments))
        for table in model.embedding.tables:
            table.assign(np.random.default_rng(0).normal(size=table.shape) * 0.1)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
        return model

    features = {name: tf.constant(values) for name, values in encoder.encode(frame[:64]).items()}
    return make, (features, {t.name: tf.constant(frame[t.name][:64].to_numpy("float32")) for t in mixed.targets})


def losses_of(model: Any, features: Any, targets: Any) -> list[tf.Tensor]:
    """Two mean cross entropies and a mean squared error, by their formulas."""
    shared = tf.concat([model.embedding(features["ids"]), features["numeric"]], axis=1)
    outputs = model.task_outputs([shared] * 3, training=True)
    losses = []
    for name, logit in zip(["click", "buy"], outputs[:2], strict=True):
        label = tf.cast(tf.reshape(targets[name], [-1]), tf.float32)
        losses.append(tf.reduce_mean(tf.math.softplus(logit) - label * logit))
    statistics = model.encoder.statistics.labels["spend"]
    spend = (tf.cast(targets["spend"], tf.float32) - statistics.mean) / statistics.std
    return [*losses, tf.reduce_mean(tf.square(spend - outputs[2]))]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_with_two_widths_against_one_backward_pass_per_task(two_widths: Any, compiled: bool) -> None:
    make, (features, targets) = two_widths
    model = make(embedding_l2=1e-3, gradient_adjustment=htl.GradientAdjustment(1.0, 0.5, 100.0))
    tables = model.embedding.tables
    assert [t.shape[1] for t in tables] == [10, 4]
    others = [w for w in model.trainable_variables if not any(w is t for t in tables)]
    flat, per_task = [], []
    for t in range(3):
        with tf.GradientTape() as tape:
            loss = losses_of(model, features, targets)[t]
        gradients = tape.gradient(loss, [*tables, *others])
        flat.append(np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in gradients[:2]]).astype(np.float64))
        per_task.append([0.0 if g is None else g.numpy() for g in gradients[2:]])
    adjusted = reference.adjust(np.asarray(flat), 1.0, 0.5, 100.0).sum(axis=0)
    expected = []
    for table, part in zip(tables, np.split(adjusted, [np.prod(tables[0].shape)]), strict=True):
        gradient = part.reshape(table.shape)
        # Random values differ in every row, so a row with no gradient is one that the batch does not touch or padding.
        touched = (gradient != 0).any(axis=1, keepdims=True)
        touched[0] = (features["ids"].numpy() == model.encoder.layout.tables[len(expected)].start).any()
        expected.append(table.numpy() - 0.1 * (gradient + 2e-3 * table.numpy() * touched))
    expected += [w.numpy() - 0.1 * sum(g) for w, *g in zip(others, *per_task, strict=True)]
    (tf.function(model.train_step) if compiled else model.train_step)((features, targets))
    for actual, value in zip([*tables, *others], expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-6)


def test_the_plain_sum_with_two_widths_is_ordinary_training(two_widths: Any) -> None:
    make, batch = two_widths
    weights = []
    for metrics in (False, True):
        model = make(gradient_adjustment=htl.GradientSum(), gradient_metrics=metrics)
        model.train_step(batch)
        weights.append([w.numpy() for w in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_checkpoints_name_the_tables(two_widths: Any, make_model: Callable[..., Any], tmp_path: Path) -> None:
    def names(model: Any, path: Path) -> list[str]:
        model.save_weights(str(path))
        return [name.split("/.ATTRIBUTES")[0] for name, _ in tf.train.list_variables(str(path))]

    make, batch = two_widths
    model, restored = make(), make()
    model.compile()
    model.train_step(batch)
    found = names(model, tmp_path / "two")
    assert {"embedding/parts/0/table", "embedding/parts/1/table"} <= set(found)
    restored.load_weights(str(tmp_path / "two")).expect_partial()
    for a, b in zip(model.embedding.tables, restored.embedding.tables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert "embedding/table" in names(make_model(), tmp_path / "one")
