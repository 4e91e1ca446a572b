"""TensorFlow, loaded on first use: objectives are part of a schema, and declaring one needs no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = lazy_loader.load("tensorflow")

__all__ = ["tf"]
