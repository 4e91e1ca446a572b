"""Models for ONNX Runtime: the scores of `htl.predict`, without TensorFlow, or nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.errors import InputError, RowError, VerificationError
from htlnet_tf.export import version_folders
from htlnet_tf.manifest import unchecked
from htlnet_tf.objectives import OBJECTIVES
from htlnet_tf.serving.onnx.scorer import OnnxScorer
from tests.conftest import BuildOnce, htlnet, small_frame


@pytest.fixture(scope="session")
def onnx_models(rich_model: Any, rich_frame: pd.DataFrame, build_once: BuildOnce) -> Path:
    """MODELS with the model of every kind of feature, for ONNX Runtime; nobody may change what lies there."""
    return build_once(
        "onnx_models", lambda folder: htl.export.export_onnx(rich_model, folder / "m", rows=rich_frame[:30])
    )


@pytest.fixture(scope="session")
def scorer(onnx_models: Path) -> OnnxScorer:
    return htl.serving.OnnxScorer(onnx_models / "m")


@pytest.fixture
def own(onnx_models: Path, tmp_path: Path) -> Path:
    """A copy of the version, to be damaged."""
    shutil.copytree(onnx_models / "m" / "onnx" / "1", tmp_path / "1")
    return tmp_path / "1"


def shaken(model: Any) -> Any:
    """Weights far from their start, so that nothing is without effect."""
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(random.normal(0.0, 0.3, weight.shape).astype(np.float32))
    return model


def assert_same(found: pd.DataFrame, due: pd.DataFrame, scale: float = 1.0) -> None:
    assert list(found.columns) == list(due.columns)
    pd.testing.assert_index_equal(found.index, due.index)
    assert (found.dtypes == np.float32).all()
    np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-5 * scale)


def test_every_kind_of_feature_scores_as_predict(scorer: OnnxScorer, rich_model: Any, rich_frame: pd.DataFrame) -> None:
    frame = rich_frame.copy()
    # Unknown, missing, before 1970, negative under log1p, and lists longer than any that were seen.
    frame.loc[:3, "user_id"], frame.loc[2:5, "item_id"] = "nobody", 10**9
    frame.loc[:9, "when"] = -1 - 3_600_000 * np.arange(10)
    frame.loc[4:7, "tag"] = ["z", " a , z,b,c,d,a", ",,", None]
    frame.loc[6:9, "history"] = ["1,2,3,4,5", "-1", "x,1", None]
    frame.loc[3:6, "price"] = np.nan
    frame.index = frame.index[::-1] + 7
    due = htl.predict(rich_model, frame)
    assert due["spend"].std() > 0.1
    assert_same(scorer.predict(frame), due, scale=rich_frame["spend"].std())
    assert_same(scorer.predict(frame, batch_size=37), due, scale=rich_frame["spend"].std())


def test_rows_may_be_dicts(scorer: OnnxScorer, rich_frame: pd.DataFrame) -> None:
    rows = rich_frame[[f.source for f in scorer.schema.inputs]].head(6).reset_index(drop=True)
    due = scorer.predict(rows)
    assert_same(scorer.predict({name: column.tolist() for name, column in rows.items()}), due)
    lists = [{**row, "history": [1, 2]} for row in rows.to_dict("records")]
    assert_same(scorer.predict(lists), scorer.predict(rows.assign(history="1,2")))
    with pytest.raises(InputError, match="column 'prise' in row 0 is unknown"):
        scorer.predict([{**row, "prise": 1.0} for row in rows.to_dict("records")])


def test_wrong_rows_are_refused_as_elsewhere(scorer: OnnxScorer, rich_frame: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no rows"):
        scorer.predict(rich_frame[:0])
    with pytest.raises(InputError, match="column 'age' is missing"):
        scorer.predict(rich_frame.drop(columns="age"))
    with pytest.raises(RowError, match=r"column 'price', row 3 .*'dear'"):
        scorer.predict(rich_frame.assign(price=rich_frame["price"].astype(object).where(rich_frame.index != 3, "dear")))
    with pytest.raises(RowError, match=r"column 'item_id', row 2 .*int64.*0\.5"):
        scorer.predict(rich_frame.assign(item_id=rich_frame["item_id"].where(rich_frame.index != 2, 0.5)))
    with pytest.raises(InputError, match="rows must be a DataFrame"):
        scorer.predict("rows.csv")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        scorer.predict(rich_frame, batch_size=0)


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # whoever imports it fails
import pandas as pd
import htlnet_tf as htl
scores = htl.serving.OnnxScorer(sys.argv[1], threads=2).predict(pd.read_parquet(sys.argv[2]))
scores.to_parquet(sys.argv[3])
print(sorted(m for m in sys.modules if m.startswith(("tensorflow", "tf_keras", "keras", "tf2onnx"))))
"""


def test_tensorflow_is_not_needed(
    onnx_models: Path, scorer: OnnxScorer, rich_frame: pd.DataFrame, tmp_path: Path
) -> None:
    rich_frame[:50].to_parquet(tmp_path / "rows.parquet")
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, onnx_models / "m", tmp_path / "rows.parquet", tmp_path / "s"]
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['tensorflow']"
    assert_same(pd.read_parquet(tmp_path / "s"), scorer.predict(rich_frame[:50]))


def test_no_server_takes_it_for_a_servable(onnx_models: Path) -> None:
    assert htl.export.list_versions(onnx_models) == []
    assert version_folders.versions(onnx_models / "m") == {}
    version = onnx_models / "m" / "onnx" / "1"
    assert (version / "model.onnx.data").stat().st_size >= 4 * 6 * 30  # the embedding tables are beside the graph
    assert (version / "model.onnx").stat().st_size < 400_000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: (v / "model.onnx").write_bytes(b"cut"), "'.*model.onnx' is damaged: it has 3 bytes"),
        (lambda v: scrambled(v / "model.onnx"), "'.*model.onnx' cannot be loaded by onnxruntime"),
        (lambda v: next((v / "tables").iterdir()).unlink(), r"tables/\d+.parquet' is missing"),
        (lambda v: scrambled(next((v / "tables").iterdir())), r"tables/\d+.parquet' is damaged"),
        (lambda v: (v / "model.onnx.data").unlink(), "model.onnx.data' is missing"),
        (lambda v: (v / "encoder.json").write_text("{}"), "encoder.json' is damaged"),
        (lambda v: newer(v / "encoder.json"), "has format 2, and this version of htlnet_tf reads 1"),
        (lambda v: (v / "encoder.json").unlink(), "has no model for ONNX Runtime; write one"),
    ],
)
def test_a_damaged_folder_is_told(own: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(own)
    with unchecked(), pytest.raises(InputError, match=message):
        OnnxScorer(own)
    with pytest.raises(InputError, match=r"is missing|is changed|has no model"):
        OnnxScorer(own)


def scrambled(path: Path) -> None:
    """Other bytes, as many as before."""
    path.write_bytes(b"\xff" * path.stat().st_size)


def newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))


def test_threads_and_onnxruntime_are_needed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="threads must be at least 1, received 0"):
        OnnxScorer(own, threads=0)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="onnxruntime, which is not installed: pip install"):
        OnnxScorer(own)


def test_another_score_is_not_published(
    rich_model: Any, rich_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxScorer.scores
    monkeypatch.setattr(
        OnnxScorer, "scores", lambda *args: {name: score + 1e-4 for name, score in right(*args).items()}
    )
    with pytest.raises(VerificationError, match="onnx: 'click' differs at row 0"):
        htl.export.export_onnx(rich_model, tmp_path / "m", rows=rich_frame[:5])
    assert version_folders.versions(tmp_path / "m" / "onnx") == {}
    with pytest.raises(InputError, match="has no model for ONNX Runtime"):
        OnnxScorer(tmp_path / "m")


def test_every_objective_leaves(schema: htl.Schema, tmp_path: Path) -> None:
    """An amount per objective, with quantiles where ONNX has the operators, a ranking, calibration by group."""
    rows = small_frame(1500, seed=3)
    amounts = []
    for name in OBJECTIVES:
        column = "spend" if name == "squared" else f"spend_{name}"
        rows[column] = rows["spend"]
        quantiles = (0.1, 0.5, 0.9) if name in ("ziln", "ordinal", "quantile") else ()
        amounts.append(htl.Continuous(column, objective=name, quantiles=quantiles))
    ranking = htl.Ranking({"click": 0.5, "spend_ziln": 1.0}, floor={"spend_ziln": 0.01})
    declared = dataclasses.replace(schema, targets=(*schema.steps, *amounts), ranking=ranking)
    model = shaken(htl.SharedBottom(declared, htl.FeatureEncoder.fit(declared, rows), tower_units=(8,)))
    htl.calibrate(model, rows, steps="isotonic", by="tab", shrinkage=100.0)
    version = htl.export.export_onnx(model, tmp_path / "m", rows=rows[:64])
    assert version.largest_difference <= 1e-5 and version.verified_rows == 128
    found = htl.serving.OnnxScorer(version.path).predict(rows)
    due = htl.predict(model, rows)
    assert len(due.columns) == 2 + len(OBJECTIVES) + 9 + 1
    np.testing.assert_allclose(found, due, rtol=1e-4, atol=1e-5 * rows["spend"].std())


@pytest.mark.slow  # two networks
def test_an_ensemble_leaves(schema: htl.Schema, encoder: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    members = [shaken(htl.HTLNet(schema, encoder, tower_units=(8,))), shaken(htl.MMoE(schema, encoder))]
    model = htl.Ensemble(members)
    htl.export.export_onnx(model, tmp_path / "m", rows=frame[:20])
    assert_same(OnnxScorer(tmp_path / "m").predict(frame), htl.predict(model, frame), scale=frame["spend"].std())


def test_what_onnx_has_no_operators_for_is_refused(schema: htl.Schema, frame: pd.DataFrame, tmp_path: Path) -> None:
    core = dataclasses.replace(schema.core, objective="gamma_hurdle", quantiles=(0.5,))
    declared = schema.with_targets((*schema.steps, core))
    model = htl.SharedBottom(declared, htl.FeatureEncoder.fit(declared, frame), tower_units=(8,))
    with pytest.raises(InputError, match=r"no operators for TensorFlow's Igamma, .*declare no quantiles"):
        htl.export.export_onnx(model, tmp_path / "m")
    assert version_folders.versions(tmp_path / "m" / "onnx") == {}


def test_the_command(command_run: tuple[str, str], command_onnx: tuple[Path, str]) -> None:
    models, printed = command_onnx
    version = models / "htlnet" / "onnx" / "1"
    # A folder that is built once is renamed afterwards: the path that was printed has another beginning.
    assert f"{version.relative_to(models)}: " in printed and "score as in training" in printed
    assert htlnet("export", command_run[0], "--to", str(models), "--format", "onnx", "--once") == 0
    assert version_folders.versions(version.parent).keys() == {1}  # this very run was there
    run = htl.load_run(command_run[0])
    held_out = run.held_out
    assert held_out is not None
    due = htl.predict(run.model, held_out)
    assert_same(OnnxScorer(models / "htlnet").predict(held_out), due, scale=float(due.iloc[:, -1].std()))
