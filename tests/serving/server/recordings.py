"""What the genuine TensorFlow Serving answered, and how its answers are compared.

The recordings and the models that answered them lie beside the checkout (`../shared/tfserving`).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[3].parent / "shared" / "tfserving"
MODELS = RECORDINGS / "models"

# As the recorded server was set up: labels stable and canary, and so both versions of `ctr` are there.
MODEL_CONFIG = """
model_config_list {
  config {
    name: "ctr" base_path: "/models/ctr" model_platform: "tensorflow"
    model_version_policy { all {} }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }
  config { name: "types" base_path: "/models/types" model_platform: "tensorflow" }
  config { name: "examples" base_path: "/models/examples" model_platform: "tensorflow" }
}
"""


def recorded(file: str) -> list[dict[str, Any]]:
    """The recorded exchanges of a file, none if it is not there."""
    path = RECORDINGS / file
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def same(received: Any, expected: Any) -> bool:
    """Whether parsed JSON is equal, floats to 1e-6."""
    if isinstance(expected, dict):
        return (
            isinstance(received, dict)
            and received.keys() == expected.keys()
            and all(same(received[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(received, list)
            and len(received) == len(expected)
            and all(same(one, other) for one, other in zip(received, expected, strict=True))
        )
    if isinstance(expected, float):
        if math.isnan(expected):
            return isinstance(received, float) and math.isnan(received)
        return isinstance(received, float) and math.isclose(received, expected, rel_tol=1e-6, abs_tol=1e-6)
    return type(received) is type(expected) and bool(received == expected)


def stable_beginning(message: str) -> str:
    """The part of a message before the names of nodes and debug marks, which vary from run to run."""
    return message.split("\n\t [[")[0].split("goo.gle/debug")[0]
