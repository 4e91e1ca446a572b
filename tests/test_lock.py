"""The locks: requirements.lock for development, requirements-runtime.lock for the trainer's image."""

from __future__ import annotations

import ast
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPO


def lines(name: str) -> list[str]:
    return (REPO / name).read_text(encoding="utf-8").splitlines()


def pinned(name: str) -> dict[str, str]:
    """What a lock installs on this Python: names and versions."""
    found = [Requirement(line) for line in lines(name)]
    return {
        canonicalize_name(r.name): str(r.specifier)
        for r in found
        if r.marker is None or r.marker.evaluate({"extra": ""})
    }


def declared(name: str) -> list[str]:
    """A list of setup.py, by its name there."""
    tree = ast.parse((REPO / "setup.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            assert isinstance(node.value, ast.List)
            return [str(e.value) for e in node.value.elts if isinstance(e, ast.Constant)]
    raise AssertionError(name)


def closure(wanted: list[Requirement]) -> set[str]:
    """The packages that these need, and those that they need in turn, as the installed packages say."""
    found: set[str] = set()
    waiting = [(requirement, "") for requirement in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        for of in {"", *requirement.extras}:
            if (name, of) not in seen:
                seen.add((name, of))
                waiting += [(Requirement(text), of) for text in requires(name) or []]
    return found


def test_the_image_gets_the_versions_that_are_tested() -> None:
    # Without the markers: what a tool of development needs on every Python, the image may need on some alone.
    runtime, tested = (
        {line.partition(" ;")[0] for line in lines(name)} for name in ("requirements-runtime.lock", "requirements.lock")
    )
    assert runtime and runtime <= tested, "run make lock"


def test_the_image_gets_what_the_package_needs_and_nothing_else() -> None:
    build = [line for line in lines("lock.in") if not line.startswith("#")]
    needed = closure([Requirement(text) for text in (*declared("REQUIRES"), *build)])
    assert pinned("requirements-runtime.lock").keys() == needed, "run make lock"
    others = (text for name in ("DEV", "DOCS", "ONNX", "REFERENCES", "TUNE") for text in declared(name))
    tools = {canonicalize_name(Requirement(text).name) for text in others}
    assert {"lightgbm", "mkdocs", "pytest", "mypy", "optuna"} <= tools and not tools & needed


def test_no_lock_names_a_place() -> None:
    for name in ("requirements.lock", "requirements-runtime.lock"):
        assert not [line for line in lines(name) if line.startswith("-") or "://" in line or " @ " in line]
