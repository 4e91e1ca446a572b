"""Every picture is drawn without a warning, and its figure can be looked into."""

from __future__ import annotations

import warnings
from typing import Any

import matplotlib.figure
import pytest


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):  # NumPy's and SciPy's; scikit-learn's and Matplotlib's
            warnings.simplefilter("error", category)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that were saved."""
    figures: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig

    def remember(self: matplotlib.figure.Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", remember)
    return figures
