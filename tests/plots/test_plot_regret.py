"""Regret over a condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from tests.plots.pictures import NAN, check, legend


def frame(models: int = 3, seeds: int = 2) -> pd.DataFrame:
    """Spend's regret falls over two decades, the click's hardly; the second seed has twice the first one's."""
    rows = [
        (condition, f"model {m}", target, start * fall**position * (1 + seed))
        for position, condition in enumerate(["few", "some", "all"])
        for m in range(models)
        for target, start, fall in (("spend", 1.0, 0.1), ("click", 0.1 + 0.01 * m, 0.7))
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=["condition", "model", "target", "value"])


def test_a_panel_per_target_in_order_of_appearance(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "regret.png"
    assert plots.plot_regret(frame(), path, x="labels", title="Regret") == path
    check(path)
    assert [axes.get_title() for axes in drawn[0].axes] == ["spend", "click"]
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["log", "linear"]
    assert [label.get_text() for label in drawn[0].axes[0].get_xticklabels()] == ["few", "some", "all"]
    assert legend(drawn[0]) == ["model 0", "model 1", "model 2", "range over the seeds"]
    line, _, (bars,) = drawn[0].axes[0].containers[0]
    np.testing.assert_allclose(line.get_ydata(), [1.5, 0.15, 0.015])
    np.testing.assert_allclose([bar[:, 1] for bar in bars.get_segments()], [[1, 2], [0.1, 0.2], [0.01, 0.02]])


def test_twelve_models_with_one_seed(tmp_path: Path, drawn: list[Any]) -> None:
    plots.plot_regret(frame(12, 1), tmp_path / "regret.png", x="labels")
    check(tmp_path / "regret.png")
    assert legend(drawn[0]) == [f"model {i}" for i in range(12)]
    assert len({line.get_marker() for line in drawn[0].legends[0].legend_handles}) == 12


def test_gaps_zeros_and_nan(tmp_path: Path, drawn: list[Any]) -> None:
    rows = frame()
    rows = rows[~((rows["model"] == "model 1") & (rows["condition"] == "some"))]
    rows.loc[rows["model"] == "model 2", "value"] = [0.0, NAN, np.inf] * 4
    rows["condition"] = pd.Categorical(rows["condition"])  # its categories are in another order
    plots.plot_regret(rows, tmp_path / "regret.png", x="labels")
    check(tmp_path / "regret.png")
    assert drawn[0].axes[0].get_yscale() == "linear"
    assert [label.get_text() for label in drawn[0].axes[0].get_xticklabels()] == ["few", "some", "all"]
    assert np.isnan(drawn[0].axes[0].containers[1][0].get_ydata()[1])


@pytest.mark.parametrize("rows", [frame()[:0], frame().assign(value=NAN)])
def test_nothing_to_draw(tmp_path: Path, rows: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no finite values"):
        plots.plot_regret(rows, tmp_path / "regret.png", x="labels")


def test_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\['model'\] are missing"):
        plots.plot_regret(frame().drop(columns="model"), tmp_path / "regret.png", x="labels")
