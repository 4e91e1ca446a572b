"""Tables of logged impressions: load, generate, split and batch them."""

from __future__ import annotations

import importlib
from typing import Any

import lazy_loader

# Lazy, so that loading or splitting a frame does not import TensorFlow; only `make_dataset` needs it.
_load, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["stream_batches"],
        "latest": ["latest_rows"],
        "published.complete_journey": ["load_complete_journey"],
        "published.hillstrom": ["load_hillstrom"],
        "published.kuairand": ["load_kuairand_pure"],
        "sources.source": ["Source", "open_source"],
        "splits": ["ColumnSplit", "HashSplit", "RandomSplit", "Split", "TimeSplit", "time_split"],
        "stream": ["Stream", "open_stream"],
        "synthetic": ["SyntheticFunnel", "generate_funnel"],
        "sources.tfrecord_writer": ["write_tfrecord"],
        "published.valued_shoppers": ["load_valued_shoppers"],
    },
)
# The batches are made where rows are encoded, a room above this one; users find them beside the splits.
_ENCODED = {"make_dataset": "dataset", "save_encoded": "shared_rows", "encoded_for_workers": "shared_rows"}
__all__ += list(_ENCODED)


def __getattr__(name: str) -> Any:
    if name in _ENCODED:
        return getattr(importlib.import_module(f"htlnet_tf.encoding.{_ENCODED[name]}"), name)
    return _load(name)


del lazy_loader
