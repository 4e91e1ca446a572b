"""What an encoder looks up, as tables and settings that need no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.kinds.categorical import CategoricalKind
from htlnet_tf.encoding.kinds.cross import LATER, SHIFT, CrossKind
from htlnet_tf.serving.onnx.folder import Lookup
from htlnet_tf.serving.onnx.lookups import HashedRows, PairRows, ValueRows


def save_tables(encoder: FeatureEncoder, folder: Path) -> tuple[Lookup, ...]:
    """Writes the tables of an encoder.

    Args:
      encoder: The model's.
      folder: Where to; they are Parquet files in its folder `tables`.

    Returns:
      How every feature is looked up, crosses last.
    """
    (folder / "tables").mkdir()
    kinds = [kind for kind in encoder.kinds.values() if kind.is_looked_up]
    lookups: list[Lookup] = [
        _of_values(kind, f"tables/{i}.parquet", folder)
        for i, kind in enumerate(kinds)
        if isinstance(kind, CategoricalKind)
    ]
    pairs = [_of_pairs(kind, f"tables/{i}", folder) for i, kind in enumerate(kinds) if isinstance(kind, CrossKind)]
    return (*lookups, *pairs)


def _of_values(kind: CategoricalKind, file: str, folder: Path) -> Lookup:
    name, slots = kind.feature.name, kind.learned.slots
    block, padding = kind.blocks[name], kind.padding[name]
    assert block.missing is not None  # a categorical feature has such a row, if only that of unknown values
    if kind.owner.feature.encoding == "hash":
        return HashedRows(name, block.end - block.first, block.first, block.missing, padding, slots)
    keys, rows = kind.entries()
    assert block.unknown is not None  # as above
    dtype = "int64" if kind.feature.dtype == "int64" else object
    frame = pd.DataFrame({"value": pd.Series(keys, dtype=dtype), "row": np.asarray(rows, np.int32)})
    frame.to_parquet(folder / file, index=False)
    return ValueRows(name, file, block.unknown, block.missing, padding, slots)


def _of_pairs(kind: CrossKind, prefix: str, folder: Path) -> PairRows:
    name, learned = kind.feature.name, kind.learned
    block, of = kind.blocks[name], kind.feature.of
    starts = (kind.blocks[of[0]].start, kind.blocks[of[1]].start)
    plain = PairRows(name, of, starts, kind.sizes[1], kind.feature.num_buckets, block.first)
    if learned is None:
        return plain
    files = (f"{prefix}_first.parquet", f"{prefix}_second.parquet")
    for file, numbers in zip(files, (learned.first, learned.second), strict=True):
        pd.DataFrame({"number": np.asarray(numbers, np.int64)}).to_parquet(folder / file, index=False)
    return PairRows(
        name, of, starts, plain.size, plain.buckets, plain.first, files, learned.sizes, later=LATER, shift=SHIFT
    )
