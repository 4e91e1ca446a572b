"""An exported version in this process: raw columns in, scores out, with neither server nor model code."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.data.columns import Arrays
from htlnet_tf.data.request_rows import schema_of_model
from htlnet_tf.errors import InputError
from htlnet_tf.manifest import require_intact
from htlnet_tf.schema.names import argument_name
from htlnet_tf.serving.exported import exported_schema, version_digest
from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE, DEFAULT_SIGNATURE

BATCH_ROWS = (1024, 512, 256, 128, 64, 32)
"""Rows per call of the graph; the first size that scores a row alike wherever it stands in the batch is taken."""

_PROBES = 4
_DTYPES = {tf.string: "DT_STRING", tf.int64: "DT_INT64", tf.float32: "DT_FLOAT"}


class LocalServable:
    """A version that is loaded once.

    A row's scores do not depend on the rows beside it. Matrix products round the last rows of a block in another way
    than the others, so batches have one size, the last one being filled up with its last row, and that size is one at
    which the same row in every place of a batch was seen to have the same scores.

    Args:
      folder: The version's folder, with `saved_model.pb` and `assets.extra/schema.yaml`.
      signature: `"serving_default"`, or `"candidates"`.

    Attributes:
      schema: The schema of the training, every dtype settled.
      batch_rows: Rows per call of the graph.
      shared: The columns of which a call has one value for all rows.

    Raises:
      InputError: A file of it is not as it was written; the folder holds no SavedModel of this package, or
        one without the signature.
    """

    def __init__(self, folder: Path, signature: str = DEFAULT_SIGNATURE) -> None:
        require_intact(folder)
        declared = exported_schema(folder)
        try:
            self._loaded = tf.saved_model.load(str(folder))  # the functions hold its variables by weak references
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"'{folder}' cannot be loaded as a SavedModel: {error}") from error
        if signature not in self._loaded.signatures:
            raise InputError(
                f"'{folder}' has no signature '{signature}', only {sorted(self._loaded.signatures)}"
                + ("; it needs columns of group item" if signature == CANDIDATES_SIGNATURE else "")
            )
        self._function = self._loaded.signatures[signature]
        arguments = self._function.structured_input_signature[1]
        names = {argument_name(feature.name): feature.name for feature in declared.inputs}
        self._specs = {names.get(argument, argument): spec for argument, spec in arguments.items()}
        self._arguments = {names.get(argument, argument): argument for argument in arguments}
        self.schema = schema_of_model(
            declared, {name: _DTYPES.get(spec.dtype, "DT_INVALID") for name, spec in self._specs.items()}
        )
        self.shared = {name for name, spec in self._specs.items() if spec.shape.rank == 1 and spec.shape[0] == 1}
        self.batch_rows = next((rows for rows in BATCH_ROWS if self._is_even(rows)), BATCH_ROWS[-1])

    def scores(self, raw: Arrays) -> dict[str, np.ndarray]:
        """The scores of rows.

        Args:
          raw: By feature name, arrays of shape [N] as `raw_features` gives them; of `candidates` shape [1] of the
            shared ones.

        Returns:
          By output, [N] or [N, K], in the order of the schema.
        """
        return self.scores_of(self.batches(raw), raw)

    def batches(self, raw: Arrays, rows: int | None = None) -> list[tuple[int, dict[str, tf.Tensor]]]:
        """The columns that differ from row to row as tensors of `rows` rows, and how many of these are real ones.

        Args:
          raw: As of `scores`.
          rows: Per tensor; None: `batch_rows`.
        """
        size = self.batch_rows if rows is None else rows
        own = {name: values for name, values in raw.items() if name not in self.shared}
        count = len(next(iter(own.values())))
        return [(min(size, count - start), self._tensors(_filled(own, start, size))) for start in range(0, count, size)]

    def fitting(self, count: int) -> int:
        """Rows per call of the graph for a table of `count` rows that is scored again and again."""
        sizes = [rows for rows in BATCH_ROWS if count <= rows <= self.batch_rows]
        return next((rows for rows in reversed(sizes) if self._is_even(rows)), self.batch_rows)

    def scores_of(self, batches: list[tuple[int, dict[str, tf.Tensor]]], shared: Arrays) -> dict[str, np.ndarray]:
        """As `scores`, of rows that `batches` has made, and the columns [1] that they share."""
        once = self._tensors({name: values for name, values in shared.items() if name in self.shared})
        parts = []
        for rows, tensors in batches:
            outputs = self._function(**once, **tensors)
            parts.append({name: outputs[name].numpy()[:rows] for name in self.schema.outputs})
        return {name: np.concatenate([part[name] for part in parts]) for name in self.schema.outputs}

    def _tensors(self, columns: Arrays) -> dict[str, tf.Tensor]:
        return {self._arguments[name]: tf.constant(v, self._specs[name].dtype) for name, v in columns.items()}

    def _is_even(self, rows: int) -> bool:
        """Whether a batch of one row again and again has the same scores throughout."""
        random = np.random.default_rng(0)
        for _ in range(_PROBES):
            raw = {}
            for name, spec in self._specs.items():
                value: Any = np.array([f"{random.integers(1000)}"], object)
                if spec.dtype != tf.string:
                    value = random.integers(0, 1000, 1).astype(spec.dtype.as_numpy_dtype)
                raw[name] = value if name in self.shared else np.repeat(value, rows)
            outputs = self._function(**self._tensors(raw))
            if any(not np.array_equal(v, np.broadcast_to(v[:1], v.shape), equal_nan=True) for v in _numpy(outputs)):
                return False
        return True


def loaded(folder: Path, signature: str = DEFAULT_SIGNATURE, *, callers: int = 1) -> LocalServable:
    """A version's servable, loaded once per process, and again where another has taken its place in the folder.

    Args:
      folder: The version's.
      signature: As of `LocalServable`.
      callers: Threads that will call it at a time, each with a core of its own where TensorFlow is not at work yet.
    """
    _one_thread_per_call(callers)
    return _loaded(folder, signature, version_digest(folder))


@functools.lru_cache(maxsize=2)
def _loaded(folder: Path, signature: str, digest: str) -> LocalServable:
    return LocalServable(folder, signature)


def _one_thread_per_call(callers: int) -> None:
    """Has every call of a graph run on one core, as it does in every worker of Spark; several callers use several.

    Shared between threads, a batch falls into other blocks. Where TensorFlow is at work already it stays as it is.
    """
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(callers)


def _filled(columns: Arrays, start: int, rows: int) -> dict[str, np.ndarray]:
    """Rows from `start` on, the last one again and again where there are too few."""
    count = len(next(iter(columns.values())))
    if start + rows <= count:
        return {name: values[start : start + rows] for name, values in columns.items()}
    positions = np.minimum(np.arange(start, start + rows), count - 1)
    return {name: values[positions] for name, values in columns.items()}


def _numpy(outputs: Mapping[str, tf.Tensor]) -> Iterator[np.ndarray]:
    return (tensor.numpy() for tensor in outputs.values())
