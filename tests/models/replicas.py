"""Run by test_replicas.py: a model on 2 or 4 logical CPUs against one that has the whole batch, after 50 steps.

Arguments: how many, and which model. Printed: the largest difference of a variable, relative to its largest number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import htlnet_tf as htl
from tests.conftest import small_frame

import tensorflow as tf  # isort: skip

REPLICAS, NAME = int(sys.argv[1]), sys.argv[2]
ROWS, BATCH, EPOCHS = 397, 80, 10

cpus = [f"CPU:{i}" for i in range(REPLICAS)]
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
)
schema = htl.Schema(
    features=[
        htl.Categorical("user_id"),
        htl.Categorical("item_id", embedding_dim=6),
        htl.Categorical("tag", separator=",", pooling="max"),
        htl.Numeric("price"),
    ],
    targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend", non_negative=True, objective="poisson")],
)
frame = small_frame(ROWS)
encoder = htl.FeatureEncoder.fit(schema, frame)
MODELS: dict[str, Callable[[], Any]] = {
    # Everything that is drawn: soft labels and dropout.
    "htlnet": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), dropout=0.2, label_embedding="soft"),
    "shared_bottom": lambda: htl.SharedBottom(
        schema, encoder, tower_units=(8,), gradient_adjustment=htl.GradientAdjustment()
    ),
    "pcgrad": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), gradient_adjustment=htl.PCGrad()),
    "nash_mtl": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), gradient_adjustment=htl.NashMTL()),
    "metabalance": lambda: htl.SharedBottom(schema, encoder, tower_units=(8,), gradient_adjustment=htl.MetaBalance()),
    "uncertainty": lambda: htl.MMoE(schema, encoder, loss_weighting=htl.UncertaintyWeights(schema)),
    "aitm": lambda: htl.AITM(schema, encoder),
}
# Whole parts of a batch without a label: of 80 rows the first 40, which are those of the first replica or two.
place = np.arange(ROWS) % BATCH
weights = {
    "click": (np.arange(ROWS) % 3 > 0) * 1.0,
    "buy": (place >= BATCH // 2) * 2.0,
    "spend": np.where(place < BATCH // 4, 0.0, 0.5 + place / BATCH),
}
features, targets = next(iter(htl.data.make_dataset(frame, schema, encoder, batch_size=ROWS)))
rows = tf.data.Dataset.from_tensor_slices(
    (features, targets, {name: tf.constant(weight, tf.float32) for name, weight in weights.items()})
).batch(BATCH)


def trained(strategy: Any) -> tuple[Any, dict[str, list[float]]]:
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        model = MODELS[NAME]()
        # The seed of the noise is drawn in each process: on a single machine in another place of the same stream.
        model.noise_seed.assign(7)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.02, momentum=0.9))
    history = model.fit(rows, epochs=EPOCHS, verbose=0).history
    return model, history


one, expected = trained(tf.distribute.get_strategy())
many, history = trained(tf.distribute.MirroredStrategy(cpus))
assert many.optimizer.iterations.numpy() == 50
differences = {}
for a, b in zip(one.trainable_variables, many.trainable_variables, strict=True):
    moved = np.abs(a.numpy()).max()
    differences[a.name] = float(np.abs(a.numpy() - b.numpy()).max() / moved)
for name, values in expected.items():
    np.testing.assert_allclose(history[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
worst = max(differences, key=lambda name: differences[name])
print(f"{REPLICAS} {NAME}: {differences[worst]:.1e} at {worst}")
assert differences[worst] <= 1e-5
