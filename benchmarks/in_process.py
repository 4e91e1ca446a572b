"""What 500 candidates cost without a server, one thread each: the servable, ONNX Runtime, and boosted trees.

A program of its own, since TensorFlow takes its number of threads once per process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from htlnet_tf.errors import InputError

ROWS = 500
TREES = 128
DEFAULT, CANDIDATES, ONNX, BOOSTED = "serving_default", "candidates", "ONNX Runtime", f"LightGBM, 3 x {TREES} trees"

Case = Callable[[], object]


def in_process_seconds(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Measures an exported model of several users' columns, in a process with one thread.

    Args:
      folder: The model's, with a version and, where it was exported for ONNX Runtime too, `onnx/`.
      rounds: Turns of each case.

    Returns:
      By case, seconds per call in each round. ONNX Runtime and LightGBM are left out where they are not installed.

    Raises:
      InputError: The process failed.
    """
    alone = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, str(folder), str(rounds)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | alone)
    if result.returncode:
        raise InputError(f"the measurement in process failed: {result.stderr.strip().splitlines()[-1:]}")
    seconds: dict[str, list[float]] = json.loads(result.stdout)
    return seconds


def cases(folder: Path) -> dict[str, Case]:
    """By name, a call that scores the same candidates of one user."""
    from htlnet_tf.serving.server.servables import LoadedVersion

    version = max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    loaded = LoadedVersion(version)
    inputs = loaded.signatures["candidates"].inputs
    shared = {name for name, info in inputs.items() if info.shape == (1,)}
    random = np.random.default_rng(0)
    drawn = {name: random.integers(0, 1000, 1 if name in shared else ROWS) for name in inputs}

    def column(name: str, count: int) -> np.ndarray:
        values = np.broadcast_to(drawn[name], count) if len(drawn[name]) == 1 else drawn[name]
        if inputs[name].dtype == "DT_STRING":
            return np.array([f"value_{k}".encode() for k in values], object)
        return values.astype(np.int64 if inputs[name].dtype == "DT_INT64" else np.float32)

    whole = {name: column(name, ROWS) for name in inputs}
    parts = {name: column(name, len(drawn[name])) for name in inputs}
    found: dict[str, Case] = {
        DEFAULT: lambda: loaded.run("serving_default", whole),
        CANDIDATES: lambda: loaded.run("candidates", parts),
    }
    if (folder / "onnx").is_dir():
        from htlnet_tf.serving import OnnxScorer

        scorer = OnnxScorer(folder, threads=1)
        text = {name: [v.decode() for v in c] if c.dtype == object else c for name, c in whole.items()}
        found[ONNX] = lambda: scorer.predict(text)
    if importlib.util.find_spec("lightgbm") is not None:
        numbers = np.stack([np.broadcast_to(values, ROWS) for values in drawn.values()], axis=1).astype(np.float64)
        trees = _boosted(len(inputs))
        found[BOOSTED] = lambda: [model.predict(numbers, num_threads=1) for model in trees]
    return found


def _boosted(columns: int) -> list[Any]:
    """A model per target, of the trees' usual size, on labels without a meaning; they are given codes, not text."""
    import lightgbm

    random = np.random.default_rng(1)
    rows = random.integers(0, 1000, (20_000, columns)).astype(np.float64)
    models = []
    for objective in ("binary", "binary", "regression"):
        labels = random.integers(0, 2, len(rows)) if objective == "binary" else random.exponential(1.0, len(rows))
        options = {"objective": objective, "num_threads": 1, "verbose": -1, "seed": 0}
        models.append(lightgbm.train(options, lightgbm.Dataset(rows, labels), TREES))
    return models


def _main(folder: str, rounds: str) -> None:
    from htlnet_tf.benchmarks.timing import interleaved

    print(json.dumps(interleaved(cases(Path(folder)), rounds=int(rounds), calls=5)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
