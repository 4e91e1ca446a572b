"""Tables of logged impressions: load, generate, split and batch them."""

from __future__ import annotations

import lazy_loader

# Lazy, so that loading or splitting a frame does not import TensorFlow; only `dataset` needs it.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["make_dataset"],
        "kuairand": ["load_kuairand_pure"],
        "splits": ["time_split"],
        "synthetic": ["SyntheticFunnel", "generate_funnel"],
    },
)

del lazy_loader
