"""What stops an export: any signature, loader or warm-up request that differs or fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

import htlnet_tf as htl
from htlnet_tf.export import publish
from htlnet_tf.export import verify as verification
from htlnet_tf.export.probes import probe_rows
from htlnet_tf.export.publish import ExportedVersion
from htlnet_tf.export.stages import Stages
from htlnet_tf.export.verify import VerificationError, verify
from htlnet_tf.export.version_folders import versions
from htlnet_tf.export.warmup import write_warmup
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.server.warmup import WARMUP_FILE

SIGNATURES = ["serving_default", "candidates", "examples", "classify", "regress"]


class _Kept(verification._Loaders):
    """Loaders that stay open for the next test."""

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def loaders(rich_saved: Path) -> Any:
    kept = _Kept(rich_saved, Stages())
    yield kept
    kept.session.close()


@pytest.fixture
def session(loaders: _Kept) -> LoadedVersion:
    return loaders.session


@pytest.fixture
def loaded_once(loaders: _Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` takes `rich_saved` as it was loaded before: loading takes seconds, and is no matter of the test."""
    monkeypatch.setattr(verification, "_Loaders", lambda *_: loaders)


def test_the_report(rich_version: ExportedVersion) -> None:
    report = rich_version.report
    assert (report.rows, report.warmup_requests) == (94, 15)
    assert report.largest_difference <= 1e-5
    summary = rich_version.path / "assets.extra" / "training_summary.json"
    size = sum(p.stat().st_size for p in rich_version.path.rglob("*") if p.is_file())
    of_files = summary.stat().st_size + (summary.parent / "SHA256SUMS").stat().st_size
    assert report.size_bytes == size - of_files
    assert set(report.load_seconds) == {"python", "session"}
    assert list(report.latency_ms) == SIGNATURES
    assert all(list(by_size) == [1, 100, 500] and min(by_size.values()) > 0 for by_size in report.latency_ms.values())
    assert "candidates" in report.to_text()


@pytest.mark.parametrize("loader", ["python", "session"])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_difference_in_any_signature_and_loader_is_found(
    rich_model: Any, rich_saved: Path, loaded_once: None, monkeypatch: pytest.MonkeyPatch, loader: str, signature: str
) -> None:
    honest = _Kept.runs
    name = {"classify": "scores", "regress": "outputs"}.get(signature, "spend")

    def runs(self: Any) -> dict[str, Any]:
        found = honest(self)
        run = found[loader]

        def shifted(asked: str, inputs: Any) -> dict[str, np.ndarray]:
            outputs = dict(run(asked, inputs))
            if asked == signature:
                outputs[name] = outputs[name] + np.float32(1e-2)
            return outputs

        return found | {loader: shifted}

    monkeypatch.setattr(_Kept, "runs", runs)
    with pytest.raises(VerificationError, match=f"{loader}, '{signature}': '{name}' differs at row 0"):
        verify(rich_model, rich_saved, probe_rows(rich_model.encoder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda outputs: {n: s * np.float32("nan") for n, s in outputs.items()}, "differs at row 0"),
        (lambda outputs: {"click": outputs["click"]}, "were expected"),
        (lambda outputs: {n: s[:1] for n, s in outputs.items()}, "has shape"),
    ],
    ids=["NaN", "missing output", "one row"],
)
def test_outputs_that_are_no_scores(
    rich_model: Any, rich_saved: Path, loaded_once: None, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    honest = verification._python_scores
    monkeypatch.setattr(verification, "_python_scores", lambda *args: change(honest(*args)))
    with pytest.raises(VerificationError, match=message):
        verify(rich_model, rich_saved, probe_rows(rich_model.encoder))


def test_other_weights_are_a_difference(rich_model: Any, rich_saved: Path, loaded_once: None) -> None:
    kernel = rich_model.towers[-1].head.kernel
    before = kernel.numpy()
    kernel.assign(before * 1.001)
    try:
        with pytest.raises(VerificationError, match="'spend' differs"):
            verify(rich_model, rich_saved, probe_rows(rich_model.encoder))
    finally:
        kernel.assign(before)


def test_a_failed_verification_publishes_nothing(
    rich_model: Any, rich_saved: Path, loaded_once: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        publish,
        "Servable",
        lambda *_: SimpleNamespace(save=lambda path: shutil.copytree(rich_saved, path, dirs_exist_ok=True)),
    )
    monkeypatch.setattr(verification, "_python_scores", lambda *args: {})
    with pytest.raises(VerificationError):
        htl.export.export_model(rich_model, tmp_path / "m", warmup_rows=(1,))
    assert versions(tmp_path / "m") == {}
    assert [p.name for p in (tmp_path / "m").iterdir()] == [".lock"]


def test_a_missing_signature(rich_model: Any, rich_saved: Path, tmp_path: Path) -> None:
    shutil.copytree(rich_saved, tmp_path / "1")
    message = saved_model_pb2.SavedModel.FromString((rich_saved / "saved_model.pb").read_bytes())
    del message.meta_graphs[0].signature_def["regress"]
    (tmp_path / "1" / "saved_model.pb").write_bytes(message.SerializeToString())
    with pytest.raises(VerificationError, match=r"signatures .* were expected"):
        verify(rich_model, tmp_path / "1", probe_rows(rich_model.encoder))


def test_what_cannot_be_loaded(rich_model: Any, rich_saved: Path, tmp_path: Path) -> None:
    shutil.copytree(rich_saved, tmp_path / "1")
    (tmp_path / "1" / "variables" / "variables.index").unlink()
    with pytest.raises(VerificationError, match="cannot be loaded"):
        verify(rich_model, tmp_path / "1", probe_rows(rich_model.encoder))


def test_warm_up_has_every_signature_and_size(
    rich_model: Any, rich_saved: Path, session: LoadedVersion, tmp_path: Path
) -> None:
    rows = probe_rows(rich_model.encoder)
    path = tmp_path / WARMUP_FILE
    path.parent.mkdir()
    assert write_warmup(path, rich_model.encoder, "m", rows, (1, 70), SIGNATURES) == 10
    logs = [
        prediction_log_pb2.PredictionLog.FromString(r) for r in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    kinds = [log.WhichOneof("log_type") for log in logs]
    assert kinds == ["predict_log"] * 6 + ["classify_log"] * 2 + ["regress_log"] * 2
    requests = [getattr(log, kind).request for log, kind in zip(logs, kinds, strict=True)]
    assert [r.model_spec.signature_name for r in requests] == [name for name in SIGNATURES for _ in range(2)]
    assert {r.model_spec.name for r in requests} == {"m"}
    sizes = [
        (r.inputs["item_id"].tensor_shape.dim[0].size, r.inputs["user_id"].tensor_shape.dim[0].size)
        for r in requests[:4]
    ]
    assert sizes == [(1, 1), (70, 70), (1, 1), (70, 1)]  # `candidates` has one user
    assert len(requests[-1].input.example_list.examples) == 70
    assert verification._replayed(session, tmp_path) == 10


@pytest.mark.parametrize("damage", ["input", "signature", "record", "file"])
def test_one_bad_warm_up_request_is_found(rich_model: Any, session: LoadedVersion, tmp_path: Path, damage: str) -> None:
    path = tmp_path / WARMUP_FILE
    path.parent.mkdir()
    write_warmup(path, rich_model.encoder, "m", probe_rows(rich_model.encoder), (2,), ("serving_default",))
    (record,) = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    log = prediction_log_pb2.PredictionLog.FromString(record)
    if damage == "input":
        del log.predict_log.request.inputs["item_id"]
    if damage == "signature":
        log.predict_log.request.model_spec.signature_name = "other"
    bad = b"\xff" if damage == "record" else log.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(record)
        writer.write(bad)
    if damage == "file":
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(VerificationError, match="a warm-up request fails"):
        verification._replayed(session, tmp_path)


@pytest.mark.parametrize(
    ("sizes", "signatures", "message"),
    [
        ((0,), None, "at least one row"),
        ((1,), ("serving_default", "predict"), "received \\['predict'\\]"),
        (tuple(range(1, 202)), None, "at most 1000 requests"),
    ],
)
def test_warm_up_that_a_server_would_refuse(
    rich_model: Any, tmp_path: Path, sizes: Any, signatures: Any, message: str
) -> None:
    with pytest.raises(htl.InputError, match=message):
        htl.export.export_model(rich_model, tmp_path / "m", warmup_rows=sizes, warmup_signatures=signatures)
    assert not (tmp_path / "m").exists()
