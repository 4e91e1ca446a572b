"""The script of docs/daily.md, from drift to promotion: killed at every step, and run again to the same end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import htlnet_tf as htl
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.runs.lineage import load_lineage, run_digest
from htlnet_tf.serving import EmbeddedServer
from tests.conftest import htlnet
from tests.docs.blocks import blocks

CONFIG = """
data: {loader: generated, num_rows: 8000}
model: {name: shared_bottom, arguments: {tower_units: [16, 8]}}
training: {epochs: 2, batch_size: 256, learning_rate: 0.01}
calibration: {}
drift: {calibration_error: 1.0}  # a model of two passes over few rows is none too good
"""

# In place of the command: notes each call, and kills itself and the script where KILL says so.
WRAPPER = """#!/usr/bin/env bash
exec 9>&-  # the script's lock ends with the script
echo "$1" >> calls
die() { kill -KILL $PPID; exit; }
[[ $KILL == "$1 before" ]] && die
if [[ $KILL == "$1 during" ]]; then
  REAL "$@" &
  until compgen -G "$UNDER_WAY" > /dev/null; do sleep 0.05; done
  kill -KILL $!
  die
fi
REAL "$@" || exit
[[ $KILL == "$1 after" ]] && die
exit 0
"""
# A kill leaves nothing of a step, a part, or the whole without the script's knowing; and what is there under way.
KILLS = {
    "drift before": "",
    "update during": "runs/.tuesday.*partial*",
    "update after": "",
    "gate before": "",
    "export during": "models/htlnet/.*",
    "export after": "",
    "parity before": "",
    "promote after": "",
}


@pytest.mark.slow  # the commands of a day, some of them twice, each of which starts TensorFlow
def test_killed_at_every_step_it_ends_in_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert htlnet("train", "config.yaml", "--output", "runs/monday", "--importance", "0") == 0
    assert htlnet("export", "runs/monday", "--to", "models") == 0
    Path("runs/latest").write_text("runs/monday\n")
    Path("logs").mkdir()
    # The run's rows span the 28 days from March 1, 2024 on.
    generate_funnel(6000, seed=1, start="2024-03-29").frame.to_parquet("logs/tuesday.parquet")
    generate_funnel(1000, seed=2, start="2024-04-26").frame.to_parquet("logs/tuesday.since.parquet")
    (script,) = blocks("docs/daily.md", "sh")
    Path("daily.sh").write_text(script.text)
    wrapper = tmp_path / "bin" / "htlnet"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.replace("REAL", str(Path(sys.executable).with_name("htlnet"))))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:/usr/bin:/bin")
    with EmbeddedServer("models", port=0, grpc_port=0) as server:
        htl.export.promote("models", "htlnet", 1, server=server.grpc_target, base_path_prefix=str(tmp_path / "models"))
        for name, value in {
            "REST": server.url,
            "GRPC": str(server.grpc_target),
            "MODELS_OF_SERVER": str(tmp_path / "models"),
        }.items():
            monkeypatch.setenv(name, value)

        def run(kill: str, under_way: str = "") -> subprocess.CompletedProcess[str]:
            monkeypatch.setenv("KILL", kill)
            monkeypatch.setenv("UNDER_WAY", under_way)
            command = ["bash", "daily.sh", "tuesday"]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)

        for kill, under_way in KILLS.items():
            killed = run(kill, under_way)
            assert (killed.returncode, killed.stdout) == (-9, ""), (kill, killed)
            assert Path("runs/latest").read_text() == "runs/monday\n"
        done = run("never")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"day": "tuesday", "version": 2}), done
        calls = Counter(Path("calls").read_text().split())
        again = run("never")
        assert (again.returncode, again.stdout) == (0, done.stdout)
    # What has ended well is not done again; what a kill took the script's knowledge of, was asked about once more.
    assert calls == Counter(Path("calls").read_text().split())
    assert calls == {"drift": 2, "update": 2, "gate": 2, "export": 3, "parity": 2, "promote": 2}
    assert Path("runs/latest").read_text() == "runs/tuesday\n"
    assert {path.name for path in Path("runs").iterdir() if path.name != ".tuesday"} == {"monday", "tuesday", "latest"}
    lineage = load_lineage("runs/tuesday")
    assert lineage is not None and [learned.kind for learned in lineage.days] == ["train", "update"]
    versions = htl.export.list_versions("models")
    assert [(version.version, version.labels) for version in versions] == [(2, ("stable",)), (1, ())]
    summary = json.loads((versions[0].path / "assets.extra" / "training_summary.json").read_text())
    assert summary["run_sha256"] == run_digest("runs/tuesday")
    assert json.loads(Path("runs/.tuesday/gate.done").read_text())["ok"] is True


def test_an_alarm_is_one_line_and_the_step_s_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("docs/daily.md", "sh")
    (tmp_path / "daily.sh").write_text(script.text)
    stub = tmp_path / "bin" / "htlnet"
    stub.parent.mkdir()
    stub.write_text(
        '#!/bin/sh\necho "the numbers of $1"\n[ $1 != update ] || mkdir runs/friday\n[ $1 != gate -a $1 != parity ]\n'
    )
    (stub.parent / "curl").write_text("#!/bin/sh\necho AVAILABLE\n")
    for program in stub.parent.iterdir():
        program.chmod(0o755)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").write_text("runs/thursday\n")
    monkeypatch.setenv("PATH", f"{stub.parent}:/usr/bin:/bin")
    for _ in range(2):
        ended = subprocess.run(["bash", "daily.sh", "friday"], capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, ended.stderr) == (1, "")
        report = {"day": "friday", "step": "gate", "exit_code": 1, "report": "runs/.friday/gate.txt"}
        assert json.loads(ended.stdout) == report
    assert (tmp_path / "runs" / ".friday" / "gate.txt").read_text() == "the numbers of gate\n"
    # Overruled, it goes on behind the gate.
    (tmp_path / "runs" / ".friday" / "gate.done").touch()
    overruled = subprocess.run(["bash", "daily.sh", "friday"], capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(overruled.stdout)["step"] == "parity"
