"""The methods that solve a problem on the Gram matrix, inside `fit` and by their names in configurations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.runs.building import build_model
from htlnet_tf.runs.config import RunConfig

NAMES = {
    "aligned_mtl": htl.AlignedMTL,
    "cagrad": htl.CAGrad,
    "imtl_g": htl.IMTLG,
    "mgda": htl.MGDA,
    "nash_mtl": htl.NashMTL,
}


# Every one runs in a graph in test_every_method.py; inside a model the one that computes most is for every day.
@pytest.mark.parametrize(
    "kind", [kind if kind is htl.NashMTL else pytest.param(kind, marks=pytest.mark.slow) for kind in NAMES.values()]
)
def test_every_method_trains(
    make_model: Callable[..., Any], schema: htl.Schema, frame: pd.DataFrame, encoder: Any, kind: Any
) -> None:
    model = make_model(htl.HTLNet, gradient_adjustment=kind())
    dataset = htl.data.make_dataset(frame, schema, encoder, batch_size=64, shuffle=True, seed=0)
    history = model.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("name", NAMES)
def test_configurations_name_them(tmp_path: Path, schema: htl.Schema, encoder: Any, name: str) -> None:
    path = tmp_path / "config.yaml"
    arguments = f"{{core: click, gradient_adjustment: {{name: {name}}}}}"
    path.write_text(f"data: {{loader: generated}}\nmodel: {{name: htlnet, arguments: {arguments}}}")
    model = build_model(RunConfig.from_yaml(path), schema, encoder)
    assert type(model.gradient_adjustment) is NAMES[name]
    assert model.core == "click"
