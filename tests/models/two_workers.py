"""Run by test_two_workers.py, twice: one worker of two under MultiWorkerMirroredStrategy, against one process.

Arguments: the worker's number, and the ports of both.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
index, ports = int(sys.argv[1]), sys.argv[2:]
cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})

import numpy as np  # noqa: E402
import pytest  # noqa: E402

import htlnet_tf as htl  # noqa: E402
from tests.conftest import small_frame  # noqa: E402

import tensorflow as tf  # noqa: E402 # isort: skip

strategy = tf.distribute.MultiWorkerMirroredStrategy()
assert strategy.num_replicas_in_sync == 2
schema = htl.Schema(
    features=[htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")],
    targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend")],
)
frame = small_frame(400)
encoder = htl.FeatureEncoder.fit(schema, frame)


def trained(scope: Any) -> tuple[Any, dict[str, list[float]], list[float]]:
    tf.keras.utils.set_random_seed(0)
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=100)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    dataset = dataset.with_options(options)
    with scope:
        model = htl.HTLNet(schema, encoder, tower_units=(8,))
        model.noise_seed.assign(7)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
    history = model.fit(dataset, validation_data=dataset, epochs=2, verbose=2 if index == 0 else 0).history
    return model, history, dict(zip(model.metrics_names, model.evaluate(dataset, verbose=0), strict=True))


model, history, evaluated = trained(strategy.scope())
os.environ.pop("TF_CONFIG")
alone, expected, expected_evaluated = trained(tf.distribute.get_strategy().scope())
for a, b in zip(model.trainable_variables, alone.trainable_variables, strict=True):
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
for name, value in expected_evaluated.items():
    assert evaluated[name] == pytest.approx(value, rel=1e-4), name
for name in expected:
    assert history[name] == pytest.approx(expected[name], rel=1e-4), name
print("two workers equal one")
