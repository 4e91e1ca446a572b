"""Mean label against mean prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from tests.plots.pictures import NAN, SCHEMA, check, legend


def table(factor: float = 1.0, **replaced: Any) -> pd.DataFrame:
    """Ten bins per target: clicks between 0.1 and 0.8, long clicks and spend over three decades."""
    ranges = {"click": (0.1, 0.8), "click_long": (1e-4, 0.1), "spend": (0.5, 500.0)}
    frames = []
    for target, (low, high) in ranges.items():
        x = np.geomspace(low, high, 10)
        columns = {"target": target, "bin": range(10), "rows": 100, "mean_prediction": x, "mean_label": factor * x}
        frames.append(pd.DataFrame(columns | {"std_error": 0.1 * x}))
    return pd.concat(frames, ignore_index=True).assign(**replaced)


def bold(figure: Any) -> tuple[np.ndarray, np.ndarray]:
    """The line with error bars in the first panel: x and y."""
    (bars,) = figure.axes[0].containers
    return bars[0].get_xydata().T


def test_a_panel_per_target(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "calibration.png"
    assert plots.plot_calibration({"HTLNet": table(), "MMoE": table(1.2)}, SCHEMA, path, title="test rows") == path
    check(path)
    assert [axes.get_title() for axes in drawn[0].axes] == ["click", "click_long", "spend"]
    assert [axes.get_xscale() for axes in drawn[0].axes] == ["linear", "log", "log"]
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["linear", "log", "log"]
    assert [axes.get_xlabel() for axes in drawn[0].axes][1:] == ["mean prediction", "mean prediction (EUR)"]
    assert legend(drawn[0]) == ["HTLNet", "MMoE", "perfectly calibrated", "± standard error"]
    for axes in drawn[0].axes:
        assert axes.get_xlim() == axes.get_ylim()


def test_eight_models_and_the_bold_one(tmp_path: Path, drawn: list[Any]) -> None:
    tables = {f"model {i}": table(1 + 0.05 * i) for i in range(8)}
    plots.plot_calibration(tables, SCHEMA, tmp_path / "calibration.png", highlight="model 5")
    check(tmp_path / "calibration.png")
    entries = {line.get_label(): line for line in drawn[0].legends[0].legend_handles}
    assert len({entries[model].get_color() for model in tables}) == 8
    widths = {model: entries[model].get_linewidth() for model in tables}
    assert max(widths, key=lambda model: widths[model]) == "model 5"
    x, y = bold(drawn[0])
    np.testing.assert_allclose(y, 1.25 * x)


def test_seeds_are_averaged_per_bin(tmp_path: Path, drawn: list[Any]) -> None:
    plots.plot_calibration({"HTLNet": [table(1.0), table(1.5)]}, SCHEMA, tmp_path / "calibration.png")
    np.testing.assert_allclose(bold(drawn[0])[1], 1.25 * np.geomspace(0.1, 0.8, 10))


def test_a_bin_without_labels_lies_on_the_edge_of_a_logarithm(tmp_path: Path, drawn: list[Any]) -> None:
    rows = table()
    rows.loc[rows["bin"] == 0, "mean_label"] = 0.0
    plots.plot_calibration({"HTLNet": rows}, SCHEMA, tmp_path / "calibration.png")
    check(tmp_path / "calibration.png")
    assert "mean label 0" in legend(drawn[0])
    (edge,) = (line for line in drawn[0].axes[1].lines if line.get_marker() == "v")
    assert edge.get_ydata() == [drawn[0].axes[1].get_ylim()[0]]


@pytest.mark.parametrize(
    "replaced",
    [{"std_error": NAN}, {"mean_label": 0.0}, {"mean_prediction": 0.5}, {"mean_prediction": -1.0, "mean_label": -1.0}],
)
def test_weird_bins(tmp_path: Path, replaced: dict[str, Any]) -> None:
    plots.plot_calibration({"HTLNet": table(**replaced)}, SCHEMA, tmp_path / "calibration.png")
    check(tmp_path / "calibration.png")


def test_a_target_that_one_model_lacks(tmp_path: Path, drawn: list[Any]) -> None:
    tables = {"HTLNet": table().query("target == 'click'"), "MMoE": table().query("target == 'spend'"), "none": []}
    plots.plot_calibration(tables, SCHEMA, tmp_path / "calibration.png")
    assert [axes.get_title() for axes in drawn[0].axes] == ["click", "spend"]


@pytest.mark.parametrize("tables", [{}, {"HTLNet": []}, {"HTLNet": table()[:0]}, {"HTLNet": table(mean_label=NAN)}])
def test_nothing_to_draw(tmp_path: Path, tables: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no bins"):
        plots.plot_calibration(tables, SCHEMA, tmp_path / "calibration.png")


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one of the models \['HTLNet'\], received 'MMoE'"):
        plots.plot_calibration({"HTLNet": table()}, SCHEMA, tmp_path / "calibration.png", highlight="MMoE")
    with pytest.raises(InputError, match=r"\['std_error'\] are missing"):
        plots.plot_calibration({"HTLNet": table().drop(columns="std_error")}, SCHEMA, tmp_path / "calibration.png")
