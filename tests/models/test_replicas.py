"""The global batch over 2 and 4 replicas, against one worker that has it whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow  # 15 s for a process of its own, where logical devices are made before TensorFlow starts, and 10 each
@pytest.mark.parametrize(
    ("replicas", "models"),
    [(4, ["htlnet", "pcgrad"]), (2, ["shared_bottom", "nash_mtl", "metabalance", "uncertainty"])],
)
def test_replicas_end_with_the_weights_of_one(replicas: int, models: list[str]) -> None:
    script = Path(__file__).with_name("replicas.py")
    arguments = [sys.executable, script, str(replicas), *models]
    result = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    told = [line.split(":")[0] for line in result.stdout.splitlines()]
    assert told == [f"{replicas} {model}" for model in models]
