"""Tables of logged impressions: load, generate, split and batch them."""

from __future__ import annotations

import lazy_loader

# Lazy, so that loading or splitting a frame does not import TensorFlow; only `dataset` needs it.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["make_dataset"],
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

del lazy_loader
