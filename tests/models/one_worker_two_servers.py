"""Run by test_parameter_servers.py: one worker and two parameter servers in this process, against no strategy at all.

With one worker the steps have an order, so that a model whose tables are in shards must become the same.
"""

from __future__ import annotations

import socket
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import htlnet_tf as htl
from tests.conftest import small_frame

import tensorflow as tf  # isort: skip

# All servers here share one pool, in which they wait for one another.
tf.config.threading.set_inter_op_parallelism_threads(16)
with ExitStack() as stack:
    sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
cluster = tf.train.ClusterSpec({"worker": addresses[:1], "ps": addresses[1:]})
servers = [
    tf.distribute.Server(cluster, job_name=job, task_index=index, protocol="grpc")
    for job, index in (("worker", 0), ("ps", 0), ("ps", 1))
]
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
strategy = tf.distribute.ParameterServerStrategy(
    resolver, variable_partitioner=htl.TablePartitioner(2, min_shard_bytes=64)
)
tf.random.set_seed(0)  # with which tf.data takes no tensor for a seed
schema = htl.Schema(
    features=[htl.Categorical("user_id"), htl.Categorical("item_id", embedding_dim=6), htl.Numeric("price")],
    targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend", non_negative=True, objective="poisson")],
)
frame = small_frame(403)
encoder = htl.FeatureEncoder.fit(schema, frame)
folder = Path(tempfile.mkdtemp())
rows = htl.data.encoded_for_workers(
    htl.data.save_encoded(frame, schema, encoder, folder / "rows", workers=1), encoder, batch_size=100
)


def built(policy: Any = "raise") -> Any:
    """Everything that has a state of its own: temperatures, moving averages, noise, a level."""
    model = htl.HTLNet(
        schema,
        encoder,
        tower_units=(8,),
        label_embedding="soft",
        gradient_adjustment=htl.MetaBalance(),
        gradient_metrics=True,
        on_nonfinite=policy,
    )
    model.noise_seed.assign(7)
    model.compile(optimizer=htl.LazyAdam(1e-2))
    return model


def fitted(model: Any) -> dict[str, list[float]]:
    history = model.fit(rows, steps_per_epoch=5, epochs=2, validation_data=rows, validation_steps=5, verbose=0)
    return dict(history.history)


def same(one: Any, many: Any) -> None:
    """Compares the weights and the optimizer's state, each table as a whole, by way of a checkpoint."""
    many.save_weights(folder / "weights")
    whole = built()
    whole.make_train_function()  # which builds the optimizer
    whole.load_weights(folder / "weights").assert_existing_objects_matched()
    for a, b in zip(
        [*one.weights, *one.optimizer.variables], [*whole.weights, *whole.optimizer.variables], strict=True
    ):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7, err_msg=a.name)


alone = built()
with strategy.scope():
    many = built()
tables = many.embedding.tables
assert [table.shape.as_list() for table in tables] == [[12, 10], [11, 10], [19, 6], [18, 6]], tables
assert {table.device.split("/")[3] for table in tables} == {"task:0", "task:1"}
assert len(many.trainable_variables) == len(alone.trainable_variables) + 2  # and no other is split
assert not np.array_equal(tables[0].numpy()[:11], tables[1].numpy())  # each shard is drawn by itself
alone.save_weights(folder / "start")
many.load_weights(folder / "start").assert_existing_objects_matched()

expected, history = fitted(alone), fitted(many)
assert set(history) == set(expected)
for name, values in expected.items():
    np.testing.assert_allclose(history[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
same(alone, many)
for layer in ("buy", "click"):
    assert many.label_embeddings[layer].tau.numpy() == alone.label_embeddings[layer].tau.numpy() < 1.0
# The level is of the training rows, under this strategy too.
assert many.heads["spend"].level.factor.numpy() != 1.0

# A run's folder is read into a model without shards, which judges and exports.
htl.save_run(many, folder / "run")
read = htl.load_run(folder / "run").model
np.testing.assert_array_equal(read.embedding.tables[0].numpy(), np.concatenate([t.numpy() for t in tables[:2]]))
found, wanted = (htl.evaluate(model, frame).to_frame().select_dtypes("number") for model in (read, alone))
np.testing.assert_allclose(found.to_numpy(float), wanted.to_numpy(float), rtol=1e-4)

# A bad row ends it with the error that it ends with elsewhere, and training can go on after it.
bad = htl.encoding.encoded.encode_rows(frame, encoder)
bad.labels["spend"][:] = np.nan
poisoned = htl.data.encoded_for_workers(
    htl.data.save_encoded(bad, schema, encoder, folder / "bad", workers=1), encoder, batch_size=100
)
before = [table.numpy() for table in tables]
try:
    many.fit(poisoned, steps_per_epoch=2, verbose=0)
except htl.NonFiniteError as error:
    assert "target 'spend'" in str(error), error
else:
    raise AssertionError("a NaN on the worker went unnoticed")
for a, b in zip(before, tables, strict=True):
    np.testing.assert_array_equal(a, b.numpy())
assert np.isfinite(many.fit(rows, steps_per_epoch=2, verbose=0).history["loss"]).all()
with strategy.scope():
    skipping = built("skip")
assert skipping.fit(poisoned, steps_per_epoch=2, verbose=0).history["skipped_steps"] == [2.0]

with strategy.scope():
    averaging = htl.SharedBottom(schema, encoder, tower_units=(8,))
    averaging.compile(optimizer=htl.LazyAdam(use_ema=True))
try:
    averaging.fit(rows, steps_per_epoch=1, verbose=0)
except ValueError as error:
    assert "use_ema" in str(error), error
else:
    raise AssertionError("averages of steps without an order")
print("shards equal one table")
