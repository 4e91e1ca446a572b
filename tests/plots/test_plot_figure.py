"""What all pictures share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from htlnet_tf.plots.figure import floats, model_styles, short_number, spans, wrap
from tests.plots.pictures import SCHEMA, check, history


class TestFiles:
    def test_leaves_no_pyplot_figure(self, tmp_path: Path) -> None:
        import matplotlib.pyplot as plt

        before = plt.get_fignums()
        plots.plot_learning_curves(history(2), SCHEMA, tmp_path / "curves.png")
        assert plt.get_fignums() == before

    def test_makes_the_folder_and_replaces_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "curves.png"
        for _ in range(2):
            plots.plot_learning_curves(history(2), SCHEMA, str(path))
        check(path)

    def test_a_failed_write_keeps_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "curves.png"
        path.write_bytes(b"old")

        def fail(self: Any, target: Path, **_: Any) -> None:
            Path(target).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
        with pytest.raises(InputError, match="No space left on device"):
            plots.plot_learning_curves(history(2), SCHEMA, path)
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_only_png(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"must end in \.png"):
            plots.plot_learning_curves(history(2), SCHEMA, tmp_path / "curves.pdf")


def test_every_public_function_is_here() -> None:
    names = ["attention", "calibration", "comparison", "gradients", "learning_curves", "ranking_search", "regret"]
    assert sorted(plots.__all__) == [f"plot_{name}" for name in names]


def test_panels_are_spread_over_lines() -> None:
    assert [wrap(count, 3) for count in (1, 3, 4, 5, 6, 7)] == [[1], [3], [2, 2], [3, 2], [3, 3], [3, 2, 2]]


def test_models_can_be_told_apart() -> None:
    styles = model_styles([str(i) for i in range(12)], "7")
    assert len({(style.colour, style.line) for style in styles.values()}) == 12
    assert len({style.marker for style in styles.values()}) == 12
    assert list(styles) == [str(i) for i in range(12)]
    assert styles["7"] == model_styles(["a"])["a"]


def test_spans() -> None:
    assert spans(floats([1.0, 11.0, np.nan]), 10)
    assert not spans(floats([1.0, 10.0]), 10)
    assert not spans(floats([0.0, 1.0]), 10)
    assert not spans(floats([np.nan]), 10)


def test_short_numbers() -> None:
    numbers = [0.0, 0.02, 500.0, 20_000.0, -1_500_000.0, 2e9]
    assert [short_number(number) for number in numbers] == ["0", "0.02", "500", "20k", "-1.5M", "2G"]
    assert [short_number(number) for number in (1e-30, 2e30)] == ["1e-30", "2e+30"]
