"""Imports point one way: a room imports only rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import REPO

# From the ground up: a module imports from its own room and from rooms in lower lines, not from its neighbours' rooms.
ROOMS = [
    [
        "text_tables",
        "locks",
        "files",
        "documents",
        "errors",
        "stopping",
        "cores",
        "_keras",
        "manifest",
    ],  # single files, which import one another
    ["objectives", "distribution", "sharding"],
    ["schema", "noise", "agreement"],
    ["data"],
    ["encoding"],
    ["layers", "gradients", "optimizers", "checkpoints"],
    ["models"],
    ["scoring"],
    ["judging"],
    ["plots", "inspection", "serving"],
    ["export", "page"],
    ["runs"],
    ["comparison", "parity", "shadow_comparison", "demo", "benchmarks"],
    ["reporting"],
    ["cli"],
    ["__main__"],
]
# How raw values are read, which needs no TensorFlow: clients read them as training does.
FOR_REQUESTS = {
    f"data.{name}"
    for name in (
        "bad_rows",
        "columns",
        "examples",
        "raw_features",
        "request_rows",
        "score_frame",
        "sources.batch_source",
        "sources.listing",
        "sources.source",
        "sources.text_values",
        "thresholds",
        "values",
    )
}
FOLDERS = {"htlnet_tf": "", "export": "export.", "serving": "serving.", "benchmarks": "benchmarks."}


def room(module: str) -> str:
    return module.split(".")[0]


def rank(module: str) -> int:
    for level, rooms in enumerate(ROOMS):
        if room(module) in rooms:
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
                below = rank(imported) < rank(module) or room(imported) in ROOMS[0]
                assert below or room(imported) == room(module), f"{module} imports {imported}"


def test_clients_know_nothing_of_the_model_code() -> None:
    for path in (REPO / "serving").rglob("*.py"):
        found = imports(path)
        assert {room(i) for i in found} <= {"cores", "errors", "files", "manifest", "schema", "data", "serving"}, (
            path.name
        )
        assert {i for i in found if room(i) == "data"} <= FOR_REQUESTS, path.name
