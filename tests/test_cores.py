"""The cores of a process."""

from __future__ import annotations

import os

import pytest

from htlnet_tf import cores


def test_cores_are_those_of_the_affinity_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert cores.count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS and Windows
    assert cores.count() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.count() == 1
