"""Run by test_replicas.py: models on 2 or 4 logical CPUs against ones that have the whole batch, after 50 steps.

Arguments: how many, and which models. Printed for each: the largest difference of a variable, relative to its largest
number.
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

REPLICAS, NAMES = int(sys.argv[1]), sys.argv[2:]
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
# Small layers: of the hundreds of thousands of activations of large ones some lie within rounding of the bend of a
# ReLU, and from there on two trainings are two.
MODELS: dict[str, Callable[[], Any]] = {
    # Everything that is drawn: soft labels and dropout.
    "htlnet": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), dropout=0.2, label_embedding="soft"),
    "shared_bottom": lambda: htl.SharedBottom(
        schema, encoder, tower_units=(8,), gradient_adjustment=htl.GradientAdjustment()
    ),
    "pcgrad": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), gradient_adjustment=htl.PCGrad()),
    "nash_mtl": lambda: htl.HTLNet(schema, encoder, tower_units=(8,), gradient_adjustment=htl.NashMTL()),
    "metabalance": lambda: htl.SharedBottom(schema, encoder, tower_units=(8,), gradient_adjustment=htl.MetaBalance()),
    "uncertainty": lambda: htl.MMoE(
        schema, encoder, expert_units=(8,), tower_units=(8,), loss_weighting=htl.UncertaintyWeights(schema)
    ),
    "aitm": lambda: htl.AITM(schema, encoder, tower_units=(8,)),
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


def trained(name: str, strategy: Any) -> tuple[Any, dict[str, list[float]]]:
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        model = MODELS[name]()
        # The seed of the noise is drawn in each process: on a single machine in another place of the same stream.
        model.noise_seed.assign(7)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.02, momentum=0.9))
    history = model.fit(rows, epochs=EPOCHS, verbose=0).history
    return model, history


# One for all: the exchanges of a second one would have the names of the first one's.
together = tf.distribute.MirroredStrategy(cpus)
for name in NAMES:
    one, expected = trained(name, tf.distribute.get_strategy())
    many, history = trained(name, together)
    assert many.optimizer.iterations.numpy() == 50
    differences = {}
    for a, b in zip(one.trainable_variables, many.trainable_variables, strict=True):
        moved = np.abs(a.numpy()).max()
        differences[a.name] = float(np.abs(a.numpy() - b.numpy()).max() / moved)
    for metric, values in expected.items():
        # An AUC counts by thresholds: a prediction that rounding moves over one of them moves it by a row's share.
        near = 0.01 if metric.endswith("_auc") else 1e-6
        np.testing.assert_allclose(history[metric], values, rtol=2e-5, atol=near, err_msg=f"{name}: {metric}")
    worst = max(differences, key=lambda variable: differences[variable])
    print(f"{REPLICAS} {name}: {differences[worst]:.1e} at {worst}")
    assert differences[worst] <= 1e-5
