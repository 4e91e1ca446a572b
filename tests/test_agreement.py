"""What processes tell one another; the others are played here, real ones are in tests/runs/test_workers.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tensorflow as tf

from htlnet_tf import agreement
from htlnet_tf.agreement import refused_together, require_agreement, told_as_lost
from htlnet_tf.errors import InputError, NonFiniteError, RowError, WorkerLostError

ALONE = tf.distribute.get_strategy()


class Others:
    """Says what the other processes say, and keeps what this one has said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
        self.told: list[str] = []
        monkeypatch.setattr(agreement, "is_shared", lambda strategy: True)
        monkeypatch.setattr(agreement, "texts_of_workers", self._exchange)
        self.texts = texts

    def _exchange(self, strategy: Any, text: str) -> list[str]:
        self.told.append(text)
        return [*self.texts, text]


@pytest.mark.parametrize("kind", [InputError, NonFiniteError, WorkerLostError])
def test_what_another_refuses_is_refused_with_the_same_sentence(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    Others(monkeypatch, "", json.dumps([kind.__name__, "column 'é': a number"]))
    with pytest.raises(kind, match=r"^column 'é': a number$"), refused_together(ALONE):
        pass


def test_what_no_user_can_mend_is_told_with_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    Others(monkeypatch, "", json.dumps(["MemoryError", "too large"]))
    message = "worker 2 of this training has given up: MemoryError: too large"
    with pytest.raises(WorkerLostError, match=message), refused_together(ALONE):
        pass


def test_others_are_told_of_what_is_refused_here(monkeypatch: pytest.MonkeyPatch) -> None:
    others = Others(monkeypatch, "")
    with pytest.raises(RowError, match="bad row"), refused_together(ALONE):
        raise RowError("bad row", column="a", rows=None, rule="", value=None)
    with pytest.raises(KeyError), refused_together(ALONE):
        raise KeyError("a")
    with pytest.raises(WorkerLostError), refused_together(ALONE):
        raise WorkerLostError("gone")  # whom to tell?
    with refused_together(ALONE):
        pass
    assert others.told == [json.dumps(["InputError", "bad row"]), json.dumps(["KeyError", "'a'"]), ""]


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"config": {"training": {"seed": 1}}}, "config.training.seed is 1 for worker 1 and 0 for worker 2 of 2"),
        ({"config": {"training": {"seed": 0, "a": 2}}}, "config.training.a is 2 for worker 1 and None for worker 2"),
        ({"config": {"training": {"seed": 0}}, "files": ["x", "y"]}, "files is ..x., .y.. for worker 1 and None"),
    ],
)
def test_a_difference_is_named(first: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Others(monkeypatch, json.dumps(first))
    with pytest.raises(InputError, match=f"do not agree: {message}.*; run the same"):
        require_agreement(ALONE, {"config": {"training": {"seed": 0}}}, remedy="run the same")


def test_lists_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    Others(monkeypatch, json.dumps({"files": ["a", "b"]}))
    with pytest.raises(InputError, match=r"files\[1\] is 'b' for worker 1 and 'c' for worker 2"):
        require_agreement(ALONE, {"files": ["a", "c"]}, remedy="share")
    with pytest.raises(InputError, match="the length of files is 2 for worker 1 and 1 for worker 2"):
        require_agreement(ALONE, {"files": ["a"]}, remedy="share")
    require_agreement(ALONE, {"files": ["a", "b"]}, remedy="share")


def test_one_process_has_nobody_to_ask() -> None:
    with refused_together(ALONE):
        require_agreement(ALONE, {"x": object()}, remedy="")
    with pytest.raises(tf.errors.InternalError), told_as_lost(ALONE):
        raise tf.errors.InternalError(None, None, "of this machine")


def test_a_lost_process_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    Others(monkeypatch)
    text = 'Graph execution error:\n\nDetected at node x\n  File "a.py", line 1\n\nConnection reset\nmore'
    message = r"another worker .* is gone.*\(Connection reset\)$"
    with pytest.raises(WorkerLostError, match=message) as told, told_as_lost(ALONE):
        raise tf.errors.UnavailableError(None, None, text)
    assert "\n" not in str(told.value)
