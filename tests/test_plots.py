"""The pictures are judged by eye; here: that there is one, whole, whatever the series hold, and nothing left behind."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from htlnet_tf.reports import MetricRow, Report, Reports
from htlnet_tf.schema import Binary, Categorical, Continuous, Schema

SCHEMA = Schema(
    features=(Categorical("user_id"),), targets=(Binary("click"), Binary("click_long"), Continuous("spend", unit="EUR"))
)
NAN = float("nan")


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
    save: Callable[..., Path] = plots._save

    def remember(figure: matplotlib.figure.Figure, path: Path) -> Path:
        figures.append(figure)
        return save(figure, path)

    monkeypatch.setattr(plots, "_save", remember)
    return figures


def check(path: Path) -> None:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 400
    assert height > 200
    assert len(content) > 5000
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left


def history(epochs: int) -> dict[str, list[float]]:
    names = ["click_auc", "loss", "click_loss", "click_long_loss", "click_long_auc", "spend_loss", "spend_nrmse"]
    falling = [1.0 / (1 + e) for e in range(epochs)]
    return {prefix + name: falling for name in names for prefix in ("", "val_")} | {"learning_rate": [1e-3] * epochs}


def gradients(steps: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    series: dict[str, Any] = {}
    for target in SCHEMA.targets:
        series[f"{target.name}_gradient_norm"] = np.exp(rng.normal(size=steps)).tolist()
        series[f"{target.name}_gradient_cosine"] = rng.uniform(-1, 1, steps).tolist()
        series[f"{target.name}_gradient_coefficient"] = np.exp(rng.normal(size=steps)).tolist()
    return series


def report(auc: float, nrmse: float) -> Report:
    rows = (MetricRow("click", "binary", "auc", auc), MetricRow("spend", "continuous", "nrmse", nrmse))
    return Report(rows, num_rows=10)


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


class TestComparison:
    def test_runs_and_single_reports(self, tmp_path: Path, drawn: list[Any]) -> None:
        reports: Reports = {"HTLNet": [report(0.7, 0.9), report(0.8, 0.8)], "MMoE": report(NAN, 0.95)}
        plots.plot_comparison(reports, tmp_path / "comparison.png", title="test rows")
        check(tmp_path / "comparison.png")
        assert [axes.get_title() for axes in drawn[0].axes] == ["click: AUC ↑", "spend: NRMSE ↓"]

    def test_chosen_metrics(self, tmp_path: Path, drawn: list[Any]) -> None:
        plots.plot_comparison({"HTLNet": report(0.7, 0.9)}, tmp_path / "comparison.png", metrics=["nrmse"])
        assert len(drawn[0].axes) == 1
        with pytest.raises(InputError, match="none of the metrics"):
            plots.plot_comparison({"HTLNet": report(0.7, 0.9)}, tmp_path / "comparison.png", metrics=["gini"])


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
