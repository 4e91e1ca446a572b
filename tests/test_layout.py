"""Imports point one way: a room imports only rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import REPO

# From the ground up. A module may import what stands in a lower line, or in its own.
ROOMS = [
    ["_keras", "errors"],
    ["locks"],
    ["files"],
    ["documents"],
    ["features"],
    ["objectives"],
    ["targets"],
    ["schema_rules"],
    ["schema"],
    ["data.published"],
    ["data.values"],
    ["data.columns", "data.synthetic", "data.timestamps"],
    ["data.raw_features", "data.labels", "data.split_config"],
    ["data.split_keys", "data.counting"],
    ["data.label_counting"],
    ["data.sources", "data.splits", "data.request_rows", "data.statistics", "data.users"],
    ["data.stream"],
    ["data.encoded"],
    ["config"],
    ["layers", "gradients", "optimizers", "exact_metrics", "reports"],
    ["data.streaming", "summaries"],
    ["data.dataset", "plots"],
    ["models"],
    ["prediction", "attention"],
    ["evaluation", "calibration", "regret", "callbacks", "inspection"],
    ["serving.errors", "serving.signatures"],
    ["serving"],
    ["export"],
    ["building"],
    ["preparation", "runs"],
    ["training", "parity"],
    ["comparison", "demo", "benchmarks"],
    ["cli", "__main__"],
]
FOLDERS = {"htlnet_tf": "", "export": "export.", "serving": "serving.", "benchmarks": "benchmarks."}


def rank(module: str) -> int:
    for level, rooms in enumerate(ROOMS):
        if any(module == room or module.startswith(room + ".") for room in rooms):
            return level
    raise AssertionError(f"{module} is in no room: name it in ROOMS")


def imports(path: Path) -> set[str]:
    """Modules of the package that are imported when the file is run (not for type checking only)."""
    found = set()
    skipped: set[ast.AST] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
        if isinstance(node, ast.ImportFrom) and node not in skipped and (node.module or "").startswith("htlnet_tf."):
            module = str(node.module).removeprefix("htlnet_tf.")
            found |= {f"{module}.{alias.name}" if module == "data" else module for alias in node.names}
    return found


def test_imports_point_one_way() -> None:
    for folder, prefix in FOLDERS.items():
        for path in sorted((REPO / folder).rglob("*.py")):
            relative = path.relative_to(REPO / folder).with_suffix("")
            if relative.name == "__init__":
                continue
            module = prefix + ".".join(relative.parts)
            for imported in imports(path):
                assert rank(imported) <= rank(module), f"{module} imports {imported}"


def test_clients_know_nothing_of_the_model_code() -> None:
    for path in (REPO / "serving").rglob("*.py"):
        assert {i.split(".")[0] for i in imports(path)} <= {"errors", "files", "serving"}, path.name
