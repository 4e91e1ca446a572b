"""A second version of a model, asked the same in the background: both answers are logged, the first one is given."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.serving.clients.address import ModelAddress
from htlnet_tf.serving.clients.connections import OwnConnections
from htlnet_tf.serving.clients.shadow_log import ShadowLog, plain_scores, plain_values
from htlnet_tf.serving.errors import ServingError

WAITING = 256
"""At most so many requests wait to be asked again; further ones are dropped."""

_log = logging.getLogger(__name__)


class _Client(Protocol):
    """What a shadow asks: a client that waits for its answers."""

    def close(self) -> None:
        """Closes its connections."""


@dataclass
class Answer:
    """What a version said.

    Attributes:
      scores: The rows' scores; None without an answer.
      seconds: Until the answer.
      error: Why there is none.
    """

    scores: pd.DataFrame | None = None
    seconds: float = 0.0
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a line of the log has it."""
        scores = None if self.scores is None else plain_scores(self.scores)
        index = None if self.scores is None else plain_values(list(self.scores.index))
        return {"seconds": self.seconds, "error": self.error, "index": index, "scores": scores}


@dataclass
class _Request:
    method: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    first: Answer
    keys: dict[str, list[Any]] = field(default_factory=dict)


class Shadow:
    """Asks a second version what the first was asked.

    The first answer waits for nothing: a request is put into a queue with a copy of its rows, a thread asks the second
    version and writes both answers down, and where the queue is full the request is dropped and counted. Whatever goes
    wrong here is logged by `logging`, and in the log of the shadow, and raises nothing. After a fork each process has a
    thread and a file of its own; what waited in the parent is the parent's.

    Args:
      shadow: The label (text) or version (number) to ask.
      log: The folder for the lines.
      keys: Columns of the rows to log beside the scores, by which labels can be joined later.
      first: What the first version is called in the log.
      open_client: Makes the client that asks a version, `open_client(version=..., label=...)`.
      timeout: Seconds that closing waits for the requests that are still to be asked.

    Raises:
      InputError: The label or version is none.
    """

    def __init__(
        self,
        shadow: str | int,
        log: str | Path,
        *,
        keys: Sequence[str] = (),
        first: str = "latest",
        open_client: Callable[..., _Client],
        timeout: float,
    ) -> None:
        if isinstance(shadow, bool) or not isinstance(shadow, (str, int)) or shadow == "":
            raise InputError(f"shadow is a label or the number of a version, but is {shadow!r}")
        self._names = {"first": first, "second": str(shadow)}
        self._keys = (keys,) if isinstance(keys, str) else tuple(keys)
        folder = local_path(log)
        version, label = (shadow, None) if isinstance(shadow, int) else (None, shadow)

        def start() -> _Worker:
            return _Worker(lambda: open_client(version=version, label=label), ShadowLog(folder), self._names, timeout)

        self._workers = OwnConnections(start)

    @contextlib.contextmanager
    def watch(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Iterator[Answer]:
        """Notes the first answer to a call, which the block puts into `scores`, and hands the call on.

        A call that was refused before it was sent (`InputError`) is nobody's answer.

        Args:
          method: Of a client.
          arguments: Of the method.
          named: Those by name.
        """
        first = Answer()
        started = time.perf_counter()
        try:
            yield first
        except ServingError as error:
            first.error = f"{type(error).__name__}: {error}"
            first.seconds = time.perf_counter() - started
            self._hand_on(method, arguments, named, first)
            raise
        first.seconds = time.perf_counter() - started
        self._hand_on(method, arguments, named, first)

    def close(self) -> None:
        """Lets the thread of this process end what waits, as long as the timeout says, and ends it."""
        for worker, _ in self._workers.close():
            worker.close()

    def _hand_on(self, method: str, arguments: tuple[Any, ...], named: dict[str, Any], first: Answer) -> None:
        try:
            worker = self._workers.get()
            if worker.is_full():
                worker.drop()
                return
            request = _Request(method, tuple(map(copied, arguments)), named, first)
            if first.scores is not None:
                request.first = Answer(first.scores.copy(), first.seconds)
            request.keys = _keys(arguments, self._keys)
            worker.put(request)
        except Exception:  # the first answer is there, and nothing here may take it away
            _log.exception("a request was not handed to the shadow")


def shadow_of(
    shadow: str | int | None,
    log: str | Path | None,
    keys: Sequence[str],
    address: ModelAddress,
    open_client: Callable[..., _Client],
    *,
    timeout: float,
) -> Shadow | None:
    """The shadow that a client's arguments ask for; None for none.

    Args:
      shadow: As of `Shadow`, as the following.
      log: The folder for the lines.
      keys: Columns to log.
      address: Of the first version.
      open_client: Makes the client that asks a version.
      timeout: Of the client.

    Raises:
      InputError: The label or version is none, or one of shadow and log is missing.
    """
    if shadow is None and log is None and not keys:
        return None
    if shadow is None or log is None:
        raise InputError("a shadow needs both: shadow, which label or version to ask, and shadow_log, a folder")
    first = address.label if address.label is not None else address.version
    named = "latest" if first is None else str(first)
    return Shadow(shadow, log, keys=keys, first=named, open_client=open_client, timeout=timeout)


class _Worker:
    """The thread of one process; it starts with the first request."""

    def __init__(
        self, connect: Callable[[], _Client], log: ShadowLog, names: Mapping[str, str], timeout: float
    ) -> None:
        self._connect, self._log, self._names, self._timeout = connect, log, dict(names), timeout
        self._waiting: queue.Queue[_Request | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._end: float | None = None

    def is_full(self) -> bool:
        """Whether no request can be put."""
        return self._waiting.full()

    def drop(self) -> None:
        """Counts a request that nobody will ask again."""
        with self._lock:
            self._dropped += 1

    def put(self, request: _Request) -> None:
        """Puts a request, or drops it."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="htlnet-shadow", daemon=True)
                    self._thread.start()
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            self.drop()

    def close(self) -> None:
        """Waits for what is still to be asked, until the timeout, and for a call that has begun by then; the rest is
        dropped.
        """
        self._end = time.monotonic() + self._timeout
        if self._thread is None:
            return
        latest = self._end + self._timeout  # a call may take one timeout, that began before the end
        while time.monotonic() < latest:  # but not for ever, if the log's disk hangs
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                time.sleep(0.01)  # the thread takes one, or drops one after the end
        self._thread.join(max(0.0, latest - time.monotonic()))

    def _work(self) -> None:
        client: _Client | None = None
        failing = False
        while (request := self._waiting.get()) is not None:
            try:
                if self._end is not None and time.monotonic() > self._end:
                    self.drop()
                    if self._waiting.empty():
                        break  # whoever closes may have given up by now
                    continue
                if client is None:
                    client = self._connect()
                self._write(request, self._asked(client, request))
                failing = False
            except Exception:  # the next request may do better
                # Told once: a full disk would else be told of with every request.
                _log.log(
                    logging.DEBUG if failing else logging.ERROR, "requests of the shadow are not logged", exc_info=True
                )
                failing = True
                self.drop()
        try:
            self._write_dropped()
            self._log.close()
            if client is not None:
                client.close()
        except Exception:
            _log.exception("the shadow was not closed")

    def _asked(self, client: _Client, request: _Request) -> Answer:
        second = Answer()
        started = time.perf_counter()
        try:
            second.scores = getattr(client, request.method)(*request.arguments, **request.named)
        except (ServingError, InputError) as error:  # of which the latter says that this version takes other columns
            second.error = f"{type(error).__name__}: {error}"
        second.seconds = time.perf_counter() - started
        return second

    def _write(self, request: _Request, second: Answer) -> None:
        self._write_dropped()
        answers = {"first": request.first, "second": second}
        self._log.write(
            {
                "method": request.method,
                "keys": request.keys,
                **{name: {"asked": self._names[name], **answer.to_dict()} for name, answer in answers.items()},
            }
        )

    def _write_dropped(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if not dropped:
            return
        try:
            self._log.write({"dropped": dropped})
        except OSError:
            with self._lock:
                self._dropped += dropped  # to be told when it can be
            raise


def copied(value: Any) -> Any:
    """Rows that their owner may change afterwards without harm: tables, columns, and rows as dicts."""
    if isinstance(value, (pd.DataFrame, pd.Series, np.ndarray)):
        return value.copy()
    if isinstance(value, Mapping):
        return {name: copied(column) for name, column in value.items()}
    if isinstance(value, (list, tuple)):
        return [dict(row) if isinstance(row, Mapping) else row for row in value]
    return value


def _keys(arguments: Sequence[Any], names: Sequence[str]) -> dict[str, list[Any]]:
    """By name, the values of a column in the rows of a call, or the one value of the user that it is for."""
    found: dict[str, list[Any]] = {}
    for rows in arguments:
        for name in names:
            values = _column(rows, name)
            if values is not None:
                found.setdefault(name, plain_values(values))
    return found


def _column(rows: Any, name: str) -> list[Any] | None:
    if isinstance(rows, (list, tuple)) and rows and isinstance(rows[0], Mapping):
        return [row.get(name) for row in rows]
    if not isinstance(rows, (pd.DataFrame, Mapping)) or name not in rows:
        return None
    values = rows[name]
    is_one = isinstance(values, (str, bytes)) or not hasattr(values, "__iter__")
    return [values] if is_one else list(values)
