"""Run by test_models.py: what two logical CPUs under MirroredStrategy show, refuse, leave out and average.

That they learn what one does is in replicas.py.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

import htlnet_tf as htl
from tests.conftest import small_frame

import tensorflow as tf  # isort: skip

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
schema = htl.Schema(
    features=[htl.Categorical("user_id"), htl.Categorical("item_id"), htl.Numeric("price")],
    targets=[htl.Binary("click"), htl.Binary("buy"), htl.Continuous("spend")],
)
frame = small_frame(401)  # a last batch of one row: one of two replicas gets none
encoder = htl.FeatureEncoder.fit(schema, frame)


one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
tf.keras.utils.set_random_seed(0)  # one epoch with another start need not be better than the last

# Missing labels: what an epoch shows is over all rows that take part, on whichever replica.
with two.scope():
    model = htl.HTLNet(schema, encoder, tower_units=(8,), label_embedding="expected")
    model.compile(optimizer=tf.keras.optimizers.SGD(0.1))
labelled = {"click": np.arange(400) % 3 > 0, "buy": np.arange(400) % 100 < 50, "spend": np.arange(400) < 300}
weights = {name: tf.constant(2.0 * mask, tf.float32) for name, mask in labelled.items()}
full = next(iter(htl.data.make_dataset(frame[:400], schema, encoder, batch_size=400)))
masked = tf.data.Dataset.from_tensor_slices((*full, weights)).batch(100)
history = model.fit(masked, validation_data=masked, epochs=2, verbose=0).history
assert all(np.isfinite(w.numpy()).all() for w in model.trainable_variables)
assert history["loss"][1] < history["loss"][0]
alone = htl.HTLNet(schema, encoder, tower_units=(8,), label_embedding="expected")
alone.compile()
alone.set_weights(model.get_weights())
alone.heads["spend"].level.factor.assign(1.0)  # what the last epoch has shown was before the level was fitted
for name, value in alone.evaluate(masked, return_dict=True, verbose=0).items():
    np.testing.assert_allclose(history[f"val_{name}"][-1], value, rtol=1e-4, err_msg=name)

# A bad row on the second replica is told like one on the first.
features, targets = full
spend = targets["spend"].numpy()
spend[60] = np.nan
poisoned = tf.data.Dataset.from_tensor_slices((features, targets | {"spend": tf.constant(spend)}, weights)).batch(100)
try:
    model.fit(poisoned, verbose=0)
except htl.NonFiniteError as error:
    assert "target 'spend'" in str(error), error
else:
    raise AssertionError("a NaN on the second replica went unnoticed")

# Or both leave it out, as one with the whole batch does; no state moves, neither the adjustment's nor the averages'.
skipped = []
for strategy in (one, two):
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        model = htl.HTLNet(
            schema, encoder, tower_units=(8,), gradient_adjustment=htl.MetaBalance(), on_nonfinite="skip"
        )
        model.noise_seed.assign(7)
        model.compile(optimizer=htl.LazyAdam(0.01, use_ema=True, ema_momentum=0.9))
    history = model.fit(poisoned, epochs=3, verbose=0).history
    skipped.append((history, [w.numpy() for w in model.trainable_variables], int(model.optimizer.iterations.numpy())))
(single, single_weights, single_steps), (double, double_weights, double_steps) = skipped
assert single_steps == double_steps == 9
for name, values in single.items():
    np.testing.assert_allclose(values, double[name], rtol=1e-4, err_msg=name)
for a, b in zip(single_weights, double_weights, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
with two.scope():
    model.compile(optimizer=tf.keras.optimizers.AdamW(0.01))
try:
    model.fit(poisoned, verbose=0)
except ValueError as error:
    assert "without weight_decay" in str(error), error
else:
    raise AssertionError("weights would decay in a step that is left out")


class Tables(tf.keras.callbacks.Callback):
    """Each replica's table after each step, and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[np.ndarray] = []
        self.end: list[np.ndarray] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.append(self.model.embedding.table.values[0].numpy().astype(np.float64))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.end = [value.numpy() for value in self.model.embedding.table.values]


with two.scope():
    averaging = htl.SharedBottom(schema, encoder, tower_units=(8,))
    averaging.compile(optimizer=htl.LazyAdam(0.05, use_ema=True, ema_momentum=0.9))
tables = Tables()
averaging.fit(htl.data.make_dataset(frame, schema, encoder, batch_size=100), epochs=2, callbacks=[tables], verbose=0)
assert len(tables.steps) == 10
shares = 0.9 ** np.arange(9, -1, -1.0)
average = np.tensordot(shares / shares.sum(), np.stack(tables.steps), axes=1)
for replica in tables.end:
    np.testing.assert_allclose(replica, average, rtol=1e-4, atol=1e-6)
print("two replicas equal one")
