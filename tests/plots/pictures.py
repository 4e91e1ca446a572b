"""The pictures are judged by eye; here: that there is one, whole, whatever the series hold, and nothing left behind."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from htlnet_tf.schema import Binary, Categorical, Continuous, Schema

SCHEMA = Schema(
    features=(Categorical("user_id"),), targets=(Binary("click"), Binary("click_long"), Continuous("spend", unit="EUR"))
)
NAN = float("nan")


def check(path: Path) -> None:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    assert width > 400
    assert height > 200
    assert len(content) > 5000
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no temporary file is left


def legend(figure: Any) -> list[str]:
    """The entries of the one legend."""
    assert len(figure.legends) == 1
    return [text.get_text() for text in figure.legends[0].get_texts()]


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
