"""Looking at a table before training: what its columns hold, what its labels say, and a first schema."""

from __future__ import annotations

import lazy_loader

# Lazy, so that naming the room does not import pandas and scipy.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "files": ["inspect_path"],
        "report": ["Inspection"],
        "rows": ["inspect_rows"],
    },
)

del lazy_loader
