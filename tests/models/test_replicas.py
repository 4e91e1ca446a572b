"""The global batch over 2 and 4 replicas, against one worker that has it whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow  # 20 s each: a process of its own, where logical devices are made before TensorFlow starts
@pytest.mark.parametrize(
    ("replicas", "model"),
    [(4, "htlnet"), (2, "shared_bottom"), (4, "pcgrad"), (2, "nash_mtl"), (2, "metabalance"), (2, "uncertainty")],
)
def test_replicas_end_with_the_weights_of_one(replicas: int, model: str) -> None:
    script = Path(__file__).with_name("replicas.py")
    arguments = [sys.executable, script, str(replicas), model]
    result = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{replicas} {model}: " in result.stdout
