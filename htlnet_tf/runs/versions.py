"""The versions that results depend on."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-recommenders", "numpy", "pandas", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Of Python and the packages that results depend on."""
    from htlnet_tf import __version__

    return {
        "htlnet_tf": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }
