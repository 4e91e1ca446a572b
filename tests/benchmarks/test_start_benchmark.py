"""The benchmark of starts, on few rows; how long anybody waits belongs to `htlnet bench start`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from htlnet_tf.benchmarks import start
from htlnet_tf.runs.config import RunConfig

SMALL = """
data: {loader: generated, num_rows: 4000}
model: {name: shared_bottom, arguments: {tower_units: [4], embedding_dim: 2}}
training: {epochs: 200, batch_size: 512, patience: 200}
"""


def test_every_number_is_told_beside_what_is_to_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = iter([(4.0, 9.0), (6.0, 11.0)])
    monkeypatch.setattr(start, "_lines", lambda: next(lines))
    monkeypatch.setattr(start, "_second_exports", lambda count: [1.0, 2.0][:count])
    monkeypatch.setattr(start, "_loop_seconds", lambda: 0.25)
    result = start.bench_start(rounds=2, write=lambda _: None)
    document = json.loads(json.dumps(result.to_dict()))
    assert set(document["ratios"]) == set(start.TARGETS)
    seconds = document["ratios"]
    assert 0.0 < seconds.pop("import_s") < 60.0
    assert seconds == {"first_line_s": 5.0, "first_epoch_line_s": 10.0, "second_export_s": 1.5}
    assert document["machine"]["loop_s"] == 0.25
    assert all(name in result.to_text() for name in start.TARGETS)


@pytest.mark.slow
def test_a_training_is_stopped_at_its_first_epoch_and_a_model_exported_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A training is started in a process."""
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(start, "CONFIG", str(tmp_path / "small.yaml"))
    first, epoch = start._lines()
    assert 0 < first < epoch
    (again,) = start.export_again(1, config=RunConfig.from_yaml(tmp_path / "small.yaml"))
    assert again > 0
    (tmp_path / "small.yaml").write_text("data: {}")
    with pytest.raises(RuntimeError, match=r"(?s)told of no epoch: .*data.loader: Field required"):
        start._lines()
