"""What the processes of a training tell one another: why one gives up, and whether they are about the same thing.

TensorFlow lets processes exchange tensors at places that all of them come to. One that gives up before such a place
leaves the others waiting, or with an error about connections; so each says at the next place whether it goes on. With
one process there is nobody to tell.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from htlnet_tf.distribution import is_shared, texts_of_workers
from htlnet_tf.errors import InputError, NonFiniteError, WorkerLostError

_TOLD: dict[str, type[Exception]] = {kind.__name__: kind for kind in (InputError, NonFiniteError, WorkerLostError)}


@contextlib.contextmanager
def refused_together(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """What one process refuses within, all of them refuse when they come to its end, with the same sentence.

    There must be no exchange between the processes within.

    Args:
      strategy: Whose processes come here, all of them.

    Raises:
      InputError: By each process, where another one has raised it.
      NonFiniteError: Likewise.
      WorkerLostError: Another one has given up for a reason that its user cannot mend, or is gone.
    """
    try:
        yield
    except WorkerLostError:
        raise  # there is nobody to tell
    except Exception as error:
        if is_shared(strategy):
            _exchange(strategy, _refusal(error))
        raise
    if not is_shared(strategy):
        return
    for number, text in enumerate(_exchange(strategy, ""), start=1):
        if text:
            kind, sentence = json.loads(text)
            if kind in _TOLD:
                raise _TOLD[kind](sentence)
            raise WorkerLostError(f"worker {number} of this training has given up: {kind}: {sentence}")


def require_agreement(strategy: tf.distribute.Strategy, facts: Mapping[str, Any], *, remedy: str) -> None:
    """Checks that all processes are about the same thing.

    Args:
      strategy: Whose processes come here, all of them.
      facts: Of this process, by name, as JSON takes them.
      remedy: What to do about a difference.

    Raises:
      InputError: Two differ; by each process, with the same sentence, which names the first difference.
      WorkerLostError: Another process is gone.
    """
    if not is_shared(strategy):
        return
    told = [json.loads(text) for text in _exchange(strategy, json.dumps(facts))]
    for number, other in enumerate(told[1:], start=2):
        difference = _difference(told[0], other)
        if difference is not None:
            name, first, here = difference
            raise InputError(
                f"the workers of this training do not agree: {name} is {_short(first)} for worker 1 and {_short(here)} "
                f"for worker {number} of {len(told)}; {remedy}"
            )


@contextlib.contextmanager
def told_as_lost(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Tells in one sentence of a process that is gone, where TensorFlow tells of its connections.

    Raises:
      WorkerLostError: It is.
    """
    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
    ) as error:
        if isinstance(strategy, tf.distribute.ParameterServerStrategy):
            raise WorkerLostError(
                "a parameter server of this training is gone, and with it its part of the weights: start the same "
                f"command again on all tasks, and it goes on from the last checkpoint ({first_line(error)})"
            ) from error
        if not is_shared(strategy):
            raise
        raise WorkerLostError(
            "another worker of this training is gone, and without it there is no step: start the same command again on "
            f"all of them, and it goes on from the last checkpoint ({first_line(error)})"
        ) from error


def first_line(error: tf.errors.OpError) -> str:
    """The beginning of what TensorFlow says, past where in the program it was."""
    where = ("Graph execution error", "Detected at node", "File ", "<stack traces")
    lines = [line.strip() for line in str(error.message).splitlines()]
    told = (line for line in lines if line and not line.startswith(where) and "root error(s) found" not in line)
    return next(told, type(error).__name__)[:200]


def _exchange(strategy: tf.distribute.Strategy, text: str) -> list[str]:
    with told_as_lost(strategy):
        return texts_of_workers(strategy, text)


def _refusal(error: Exception) -> str:
    """An error as the others are told of it; of a kind that they raise too where there is one."""
    kind = next((name for name, told in _TOLD.items() if isinstance(error, told)), type(error).__name__)
    return json.dumps([kind, str(error)])


def _difference(first: Any, other: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first place in which two documents differ, and what is there; None: they are the same."""
    if first == other:
        return None
    if isinstance(first, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*first, *other]):
            found = _difference(first.get(key), other.get(key), f"{name}.{key}" if name else str(key))
            if found is not None:
                return found
    if isinstance(first, list) and isinstance(other, list):
        pairs: Sequence[tuple[Any, Any]] = list(zip(first, other, strict=False))
        for i, (a, b) in enumerate(pairs):
            if a != b:
                return _difference(a, b, f"{name}[{i}]")
        return f"the length of {name}", len(first), len(other)
    return name, first, other


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
