"""What replicas keep, in a process with two of them: run apart, as devices are fixed when TensorFlow starts."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tensorflow as tf

from htlnet_tf.distribution import OWN_STATE, num_replicas, states_of
from tests.conftest import REPO

PROGRAM = """
import htlnet_tf
import tensorflow as tf
from htlnet_tf.distribution import OWN_STATE, num_replicas, states_of

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    assert num_replicas() == 2
    kept = tf.Variable([0.0], **OWN_STATE)

@tf.function
def step():
    replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
    kept.assign([replica + 1.0])

strategy.run(step)
assert [v.numpy().tolist() for v in states_of(kept)] == [[1.0], [2.0]]
assert kept.numpy().tolist() == [1.0]
"""


@pytest.mark.slow  # it imports TensorFlow anew
def test_each_of_two_replicas_keeps_its_own_state() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=REPO, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_strategy() -> None:
    variable = tf.Variable([1.0, 2.0], **OWN_STATE)
    assert num_replicas() == 1
    assert states_of(variable) == (variable,)
    assert not variable.trainable
