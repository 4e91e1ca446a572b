"""Run by test_parameter_servers.py, once per task: the coordinator, a worker or a parameter server.

Arguments: the cluster as JSON, the task's job and number, and a folder. The coordinator prints a line where a worker is
to be killed and started again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import htlnet_tf as htl

import tensorflow as tf  # isort: skip

cluster = tf.train.ClusterSpec(json.loads(sys.argv[1]))
job, index, folder = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
if job != "chief":
    tf.distribute.Server(cluster, job_name=job, task_index=index, protocol="grpc").join()

from tests.conftest import small_frame  # noqa: E402

schema = htl.Schema(
    features=[htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")],
    targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend")],
)
frame = small_frame(400)
encoder = htl.FeatureEncoder.fit(schema, frame)
path = htl.data.save_encoded(frame, schema, encoder, folder / "rows", workers=2)
training = htl.data.encoded_for_workers(path, encoder, batch_size=50)
validation = htl.data.encoded_for_workers(path, encoder, batch_size=200, shuffle=False)
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
strategy = tf.distribute.ParameterServerStrategy(
    resolver, variable_partitioner=htl.TablePartitioner(2, min_shard_bytes=64)
)


class Says(tf.keras.callbacks.Callback):
    """Asks for a worker's end within the second epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1:
            print("kill a worker", flush=True)


with strategy.scope():
    model = htl.SharedBottom(schema, encoder, tower_units=(8,), gradient_adjustment=htl.GradientAdjustment())
    model.compile(optimizer=htl.LazyAdam(2e-2))
tables = model.embedding.tables
assert {table.device.split("/")[3] for table in tables} == {"task:0", "task:1"}, tables
steps, epochs = 60, 3
history = model.fit(training, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[Says()]).history
assert history["loss"][2] < history["loss"][0], history
# A step whose worker was killed is made again, however much of it was done.
assert steps * epochs <= model.optimizer.iterations.numpy() <= steps * epochs + 2, model.optimizer.iterations

# The one that was started again takes part.
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)


@tf.function
def number() -> tf.Tensor:
    return tf.distribute.coordinator.experimental_get_current_worker_index()


seen, end = set[int](), time.monotonic() + 60
while seen != {0, 1} and time.monotonic() < end:
    found = [coordinator.schedule(number) for _ in range(20)]
    coordinator.join()
    seen |= {int(value.fetch()) for value in found}
assert seen == {0, 1}, seen

# Each step of a validation is one of two blocks: every loss is between what the two have.
shown = model.evaluate(validation, steps=10, verbose=0, return_dict=True)
htl.save_run(model, folder / "run")
whole = htl.load_run(folder / "run").model
np.testing.assert_array_equal(whole.embedding.table.numpy(), np.concatenate([table.numpy() for table in tables]))
whole.compile()
blocks = tf.data.Dataset.load(str(path / "blocks"))
of_blocks = [whole.evaluate(tf.data.Dataset.from_tensors(block), verbose=0, return_dict=True) for _, block in blocks]
assert len(of_blocks) == 2
for name in ("loss", "click_loss", "buy_loss", "spend_loss"):
    low, high = sorted(of_block[name] for of_block in of_blocks)
    assert low - 1e-4 <= shown[name] <= high + 1e-4, (name, low, shown[name], high)
# An AUC would be wrong if a worker's counts were lost.
assert 0.5 < shown["click_auc"] <= 1.0
print("trained over servers", flush=True)
