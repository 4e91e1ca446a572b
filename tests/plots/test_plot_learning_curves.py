"""Losses and metrics over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from tests.plots.pictures import NAN, SCHEMA, check, gradients, history


class TestLearningCurves:
    @pytest.mark.parametrize("epochs", [1, 2, 40])
    def test_one_panel_per_quantity(self, tmp_path: Path, drawn: list[Any], epochs: int) -> None:
        path = tmp_path / "curves.png"
        assert plots.plot_learning_curves(history(epochs) | gradients(epochs), SCHEMA, path, title="a run") == path
        check(path)
        titles = [axes.get_title().split("\n")[0] for axes in drawn[0].axes]
        assert titles == [
            "loss ↓", "learning rate", "click: loss ↓", "click: AUC ↑", "click_long: loss ↓", "click_long: AUC ↑",
            "spend: loss ↓", "spend: NRMSE ↓",
        ]  # fmt: skip
        for axes in drawn[0].axes:
            low, high = axes.get_xlim()
            assert all(tick == int(tick) for tick in axes.get_xticks() if low <= tick <= high)

    def test_marks_the_best_validation_epoch(self, tmp_path: Path, drawn: list[Any]) -> None:
        curves = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.0, 1.5, NAN], "val_click_auc": [0.6, 0.5, 0.7]}
        plots.plot_learning_curves(curves, SCHEMA, tmp_path / "curves.png")
        assert drawn[0].axes[0].get_title().endswith("best 1.500 at epoch 2")
        assert drawn[0].axes[1].get_title().endswith("best 0.7000 at epoch 3")

    def test_validation_every_second_epoch(self, tmp_path: Path, drawn: list[Any]) -> None:
        plots.plot_learning_curves({"loss": [4, 3, 2, 1], "val_loss": [4, 3]}, SCHEMA, tmp_path / "curves.png")
        assert list(drawn[0].axes[0].lines[1].get_xdata()) == [2, 4]

    def test_nan_and_infinity(self, tmp_path: Path) -> None:
        curves = {"loss": [NAN, NAN], "val_loss": [NAN, NAN], "click_auc": [0.5, np.inf], "val_click_auc": [NAN, 0.6]}
        plots.plot_learning_curves(curves, SCHEMA, tmp_path / "curves.png")
        check(tmp_path / "curves.png")

    @pytest.mark.parametrize("curves", [{}, {"loss": []}, gradients(2)])
    def test_nothing_to_plot(self, tmp_path: Path, curves: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="no curves"):
            plots.plot_learning_curves(curves, SCHEMA, tmp_path / "curves.png")
