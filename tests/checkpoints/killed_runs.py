"""`htlnet train` in a process of its own, killed again and again, against one that is left alone.

python -m tests.checkpoints.killed_runs frame 20 FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from htlnet_tf.data.synthetic import generate_funnel

_TRAINING = """
model: {name: htlnet, arguments: {tower_units: [16, 8], label_embedding: soft, dropout: 0.1}}
training: {epochs: 5, batch_size: 64, patience: 5, validations_per_epoch: 2, ema_momentum: 0.9, deterministic: true,
           checkpoint_minutes: 0}
"""


def write_config(kind: str, folder: Path) -> Path:
    """A configuration for rows of a kind, `"frame"` or `"stream"`, which are written too."""
    config = folder / "config.yaml"
    if kind == "frame":
        config.write_text("data: {loader: generated, num_rows: 4000}\n" + _TRAINING)
        return config
    funnel = generate_funnel(4000)
    (folder / "rows").mkdir()
    for i in range(4):
        funnel.frame.iloc[1000 * i : 1000 * (i + 1)].to_parquet(folder / "rows" / f"{i}.parquet", index=False)
    funnel.schema.to_yaml(folder / "schema.yaml")
    config.write_text("data: {loader: generic, path: rows, streaming: true}\nschema: schema.yaml\n" + _TRAINING)
    return config


def killed(command: list[str], checkpoints: Path, random: np.random.Generator) -> None:
    """Kills the command some time after it has written some checkpoints, of which there is one after each step."""
    wanted = newest(checkpoints) + int(random.integers(1, 19))  # in all about 190 of 250 steps
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while newest(checkpoints) < wanted:
            assert process.poll() is None, "the training ended before it was killed"
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.2))
        process.kill()


def newest(checkpoints: Path) -> int:
    """The number of the newest checkpoint, 0 if there is none."""
    return max((int(path.name) for path in checkpoints.glob("*/steps/0*")), default=0)


def run(kind: str, kills: int, folder: Path) -> bool:
    """Whether a training that was killed so many times ends with the bits of one that was not."""
    config = write_config(kind, folder)
    htlnet = [str(Path(sys.executable).with_name("htlnet")), "train", str(config), "--importance", "0", "--output"]
    subprocess.run([*htlnet, str(folder / "whole")], check=True, stdout=subprocess.DEVNULL)
    random = np.random.default_rng(0)
    for number in range(kills):
        killed([*htlnet, str(folder / "run")], folder / ".run.checkpoints", random)
        at = json.loads(max((folder / ".run.checkpoints").glob("*/steps/0*/training.json")).read_text())
        print(f"kill {number + 1}: the newest checkpoint is of epoch {at['epoch']}, batch {at['batch']}", flush=True)
    subprocess.run([*htlnet, str(folder / "run")], check=True)
    assert not (folder / ".run.checkpoints").exists()
    return same(folder / "whole", folder / "run")


def same(one: Path, two: Path) -> bool:
    """Whether two runs have the same weights, test metrics and histories, bit for bit."""
    from htlnet_tf.runs.folder import load_model

    weights = [load_model(folder)[1].get_weights() for folder in (one, two)]
    equal = all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    for name in ("history.csv", "gradient_history.csv"):
        equal &= pd.read_csv(one / name).equals(pd.read_csv(two / name))
    return equal and (one / "metrics.json").read_text() == (two / "metrics.json").read_text()


if __name__ == "__main__":
    print("the same, bit for bit:", run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
