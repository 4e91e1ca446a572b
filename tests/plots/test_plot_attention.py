"""What HTLNet attends to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from htlnet_tf import plots
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Schema
from tests.plots.pictures import NAN, SCHEMA, check, legend

FOUR = Schema(features=(Categorical("user_id"),), targets=(Binary("a"), Binary("b"), Binary("c"), Continuous("spend")))


def table(schema: Schema, shift: float = 0.0) -> pd.DataFrame:
    names = [target.name for target in schema.targets]
    rows = [
        (target, unit, name, *(shift + np.asarray([0.45, 0.1, 0.3, 0.4, 0.6, 0.8])))
        for position, target in enumerate(names)
        if position > 1
        for unit in ("representation", "label")
        for name in names[:position]
    ]
    return pd.DataFrame(rows, columns=["target", "unit", "input", "mean", "p05", "p25", "p50", "p75", "p95"])


def test_a_panel_per_target_with_several_inputs(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "attention.png"
    assert plots.plot_attention(table(FOUR), FOUR, path, title="test rows") == path
    check(path)
    assert [axes.get_title() for axes in drawn[0].axes] == ["c attends to", "spend attends to"]
    labels = [[label.get_text() for label in axes.get_yticklabels()] for axes in drawn[0].axes]
    of = {names: [f"{n}, {unit}" for unit in ("representation", "label") for n in names] for names in ("ab", "abc")}
    assert labels == [of["ab"], of["abc"]]
    assert legend(drawn[0]) == ["representation unit", "label unit", "uniform weight", "mean"]
    uniform = [line.get_xdata()[0] for axes in drawn[0].axes for line in axes.lines if line.get_linestyle() == "--"]
    assert uniform == [1 / 2, 1 / 3]


def test_seeds_are_averaged(tmp_path: Path, drawn: list[Any]) -> None:
    plots.plot_attention([table(SCHEMA), table(SCHEMA, 0.1)], SCHEMA, tmp_path / "attention.png")
    means = [line.get_xdata()[0] for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    np.testing.assert_allclose(means, [0.5] * 4)


def test_one_unit(tmp_path: Path, drawn: list[Any]) -> None:
    plots.plot_attention(table(SCHEMA).query("unit == 'label'"), SCHEMA, tmp_path / "attention.png")
    check(tmp_path / "attention.png")
    assert legend(drawn[0]) == ["label unit", "uniform weight", "mean"]


@pytest.mark.parametrize("tables", [[], table(FOUR)[:0], table(FOUR).assign(mean=NAN), table(SCHEMA)])
def test_nothing_to_draw(tmp_path: Path, tables: Any) -> None:
    schema = Schema(features=FOUR.features, targets=(Binary("click"), Continuous("spend")))
    with pytest.raises(InputError, match="no attention weights"):
        plots.plot_attention(tables, schema, tmp_path / "attention.png")


def test_a_missing_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\['p95'\] are missing"):
        plots.plot_attention(table(FOUR).drop(columns="p95"), FOUR, tmp_path / "attention.png")
