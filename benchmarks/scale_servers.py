"""One process of `htlnet bench scale`: a worker and parameter servers, with a table in shards and with the same in one.

Run as `python -m htlnet_tf.benchmarks.scale_servers BATCH STEPS ROUNDS FILE`.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.benchmarks.scale_worker import ROWS
from htlnet_tf.benchmarks.training import benchmark_frame, benchmark_model

SERVERS = 2


def strategy_of_this_process(partitioner: Callable[..., Any]) -> Any:
    """A `ParameterServerStrategy` whose one worker and two servers are in this process.

    Args:
      partitioner: Of its variables.
    """
    # All servers here share one pool, in which they wait for one another.
    tf.config.threading.set_inter_op_parallelism_threads(16)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(1 + SERVERS)]
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    cluster = tf.train.ClusterSpec({"worker": addresses[:1], "ps": addresses[1:]})
    for job, index in (("worker", 0), *(("ps", i) for i in range(SERVERS))):
        # TensorFlow keeps what it has started.
        _SERVERS.append(tf.distribute.Server(cluster, job_name=job, task_index=index, protocol="grpc"))
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc")
    return tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)


_SERVERS: list[Any] = []


def seconds_by_shards(batch_size: int, steps: int, rounds: int, *, rows: int = ROWS) -> dict[int, list[float]]:
    """Seconds per step with a table in one piece and in as many shards as there are servers, in turn.

    Args:
      batch_size: Rows.
      steps: That a measurement is the mean of.
      rounds: Measurements of each.
      rows: Of the table.
    """
    number = 1

    def partitioner(shape: tf.TensorShape, dtype: tf.DType, axis: int = 0) -> list[int]:
        return htl.TablePartitioner(number)(shape, dtype, axis)

    strategy = strategy_of_this_process(partitioner)
    models: dict[int, Any] = {}
    for number in (1, SERVERS):
        with strategy.scope():
            models[number] = benchmark_model(rows)
        if len(models[number].embedding.tables) != number:
            raise RuntimeError(f"a table of {rows:,} rows is not in {number} shards: it is too small for that")
    encoder = models[1].encoder
    seconds: dict[int, list[float]] = {number: [] for number in models}
    with tempfile.TemporaryDirectory() as folder:
        frame = benchmark_frame(rows, 8 * batch_size)
        saved = htl.data.save_encoded(frame, encoder.schema, encoder, Path(folder) / "rows", workers=1)
        batches = htl.data.encoded_for_workers(saved, encoder, batch_size=batch_size)
        for turn in range(1 + rounds):
            for number, model in models.items():
                begun = time.perf_counter()
                model.fit(batches, steps_per_epoch=steps, verbose=0)
                if turn:  # before that it is traced
                    seconds[number].append((time.perf_counter() - begun) / steps)
    return seconds


if __name__ == "__main__":
    measured = seconds_by_shards(*(int(argument) for argument in sys.argv[1:4]))
    Path(sys.argv[4]).write_text(json.dumps(measured), encoding="utf-8")
