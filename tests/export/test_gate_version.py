"""`htlnet promote --gate`: a version may have a label if it is no worse than the one that has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import htlnet_tf as htl
from htlnet_tf.errors import VerificationError
from htlnet_tf.export import gate_version
from htlnet_tf.export.models_config import read_config
from htlnet_tf.manifest import SUMS_OF_VERSION, unchecked, write_manifest
from tests.conftest import htlnet, small_frame


class Constant(tf.Module):
    """A servable with the inputs of another that gives every row the same."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        schema = model.schema

        def scores(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            one = tf.ones(tf.shape(next(iter(raw.values()))), tf.float32)
            return dict.fromkeys(schema.outputs, one * 0.5)

        self.function = tf.function(scores).get_concrete_function(**model.encoder.raw_specs())


@pytest.fixture(scope="module")
def models(ranked_models: Path, ranked_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, the same again as 2, and one that knows nothing as 3; nobody may change what lies there."""
    folder = tmp_path_factory.mktemp("gated") / "models"
    shutil.copytree(ranked_models, folder)
    shutil.copytree(folder / "m" / "1", folder / "m" / "2")
    constant = Constant(ranked_model)
    tf.saved_model.save(constant, str(folder / "m" / "3"), signatures={"serving_default": constant.function})
    shutil.copytree(folder / "m" / "1" / "assets.extra", folder / "m" / "3" / "assets.extra")
    write_manifest(folder / "m" / "3", SUMS_OF_VERSION)
    return folder


def rows(model: Any) -> pd.DataFrame:
    """Rows whose labels are as the model says."""
    frame = small_frame(300, seed=5)
    scores = htl.predict(model, frame)
    random = np.random.default_rng(0)
    click = (scores["click"] > scores["click"].median()).astype(int)
    return frame.assign(click=click, buy=random.binomial(1, 0.5, 300), spend=scores["spend"])


def test_only_what_is_no_worse_is_promoted(
    models: Path, ranked_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    rows(ranked_model).to_parquet(tmp_path / "rows.parquet")
    gated = ("--gate", str(tmp_path / "rows.parquet"), "--set", "gate.resamples=20")
    promote = ("promote", str(folder), "m")
    assert htlnet(*promote, "1", *gated) == 0
    assert "nothing is called stable yet" in capsys.readouterr().out
    assert htlnet(*promote, "3", *gated) == 1
    assert "WORSE" in capsys.readouterr().out
    assert read_config(folder).labels("m") == {"stable": 1}
    assert htlnet(*promote, "9", *gated) == 2
    report = gate_version(folder, "m", 2, rows(ranked_model))
    assert report is not None
    assert report.ok
    # The scores are those that the model gives.
    expected = htl.evaluate(ranked_model, rows(ranked_model))
    found = {(v.target, v.metric): v.new for v in report.verdicts}
    assert found["click", "auc"] == pytest.approx(expected.value("click", "auc"))
    assert found["spend", "lift"] == pytest.approx(expected.value("spend", "lift"), rel=1e-4)
    (folder / "m" / "3" / "saved_model.pb").write_bytes(b"no protocol buffer")
    with pytest.raises(htl.InputError, match=r"saved_model\.pb' is changed"):
        gate_version(folder, "m", 3, rows(ranked_model))
    with unchecked(), pytest.raises(VerificationError, match="m/3' does not score the rows"):
        gate_version(folder, "m", 3, rows(ranked_model))
    shutil.rmtree(folder / "m" / "2" / "assets.extra")
    with pytest.raises(htl.InputError, match="only versions that `htlnet export` wrote"):
        gate_version(folder, "m", 2, rows(ranked_model))
