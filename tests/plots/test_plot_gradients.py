"""Gradients at the shared embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from tests.plots.pictures import NAN, SCHEMA, check, gradients


class TestGradients:
    @pytest.mark.parametrize("steps", [1, 5, 500])
    def test_rows_and_columns(self, tmp_path: Path, drawn: list[Any], steps: int) -> None:
        path = tmp_path / "gradients.png"
        plots.plot_gradients({"HTLNet": gradients(steps), "plain sum": gradients(steps, 1)}, SCHEMA, path)
        check(path)
        axes = drawn[0].axes
        assert len(axes) == 6
        assert axes[0].get_yscale() == "log"
        assert axes[2].get_yscale() == "linear"
        assert axes[0].get_ylim() == axes[1].get_ylim()
        assert "spend (core)" in [text.get_text() for text in drawn[0].legends[0].get_texts()]

    def test_weird_series(self, tmp_path: Path) -> None:
        series = gradients(3)
        series["click_gradient_norm"] = [0.0, NAN, np.inf]
        series["click_long_gradient_cosine"] = [NAN] * 3
        series["spend_gradient_coefficient"] = [1e4, -1.0, 0.0]
        del series["click_gradient_coefficient"]
        plots.plot_gradients({"one": series, "nothing": {}}, SCHEMA, tmp_path / "gradients.png", x_label="epoch")
        check(tmp_path / "gradients.png")

    def test_all_norms_zero(self, tmp_path: Path) -> None:
        plots.plot_gradients({"one": {"click_gradient_norm": [0.0, 0.0]}}, SCHEMA, tmp_path / "gradients.png")
        check(tmp_path / "gradients.png")

    def test_coefficients_over_decades_are_shown_on_a_logarithm(self, tmp_path: Path, drawn: list[Any]) -> None:
        series = {"click_gradient_coefficient": [100.0, 90.0], "spend_gradient_coefficient": [1.0, 1.0]}
        plots.plot_gradients({"one": series}, SCHEMA, tmp_path / "gradients.png")
        assert drawn[0].axes[0].get_yscale() == "log"

    @pytest.mark.parametrize("histories", [{}, {"HTLNet": {}}, {"HTLNet": {"loss": [1.0]}}])
    def test_nothing_to_plot(self, tmp_path: Path, histories: dict[str, Any]) -> None:
        with pytest.raises(InputError, match="spend_gradient_norm"):
            plots.plot_gradients(histories, SCHEMA, tmp_path / "gradients.png")
