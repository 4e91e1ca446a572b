"""Client of TF Serving's REST API: tables in, tables of scores out. Needs httpx, numpy and pandas only."""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd

from htlnet_tf.serving.clients.address import ModelAddress, check_limits, rest_url
from htlnet_tf.serving.clients.calls import Call, Calls, Question, run
from htlnet_tf.serving.clients.connections import OwnConnections
from htlnet_tf.serving.clients.http import http_options, told_by_kind
from htlnet_tf.serving.clients.quickack import QuickAckTransport
from htlnet_tf.serving.clients.replies import parse_reply
from htlnet_tf.serving.clients.rest_format import Request, answer_of, request_of
from htlnet_tf.serving.clients.retries import delays, is_retryable
from htlnet_tf.serving.clients.rows import Rows, User
from htlnet_tf.serving.clients.shadow import shadow_of
from htlnet_tf.serving.errors import ServingError
from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE, DEFAULT_SIGNATURE, EXCEEDANCE_SIGNATURE, Signature

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema


class RestClient:
    """Scores rows with a model behind TF Serving's REST API (or an `EmbeddedServer`).

    The signatures are read from the server and kept, so input that does not fit is refused before any row is sent, with
    the column and the row. They are read again where that is due to a new version: before a refusal by kept signatures,
    after an answer with other outputs (the rows are sent once more if they have changed), and after a request that the
    server refused. Connections are kept open between requests; the client may be used by several threads, and in a
    process that was forked after it was made, which opens connections of its own. Close it, or use it as a context
    manager.

    A request is sent again, after a wait that doubles each time, where there is no connection, it breaks, or the server
    answers 503. It is not sent again after a timeout, 504 or 500.

    Args:
      url: Base URL of the server, such as `"http://localhost:8501"`.
      model_name: Name of the model on the server.
      version: Version to ask; None for the one that `label` names, or the latest.
      label: Version label to ask, such as `"stable"`; None for none.
      timeout: Seconds to wait for a connection, and for each part of an answer.
      retries: How often to send a request again.
      max_connections: At most so many connections at once; further threads wait for one.
      verify: Whether, or with what, to verify the certificate of an https server.
      schema: The schema that the model was trained with, or the path of its file or run folder; rows are then read as
        in training: the table's own column names, decimal commas, formats of times, datetimes, lists. None: by the
        signature alone, which knows neither units nor separators.
      shadow: A label (text) or version (number) to ask the same in the background, see `shadow_log`. It neither delays
        nor fails an answer; where it does not keep up, requests are dropped and counted. None: nothing.
      shadow_log: The folder that both answers are written to, as JSON lines, for `htlnet compare-logs`.
      shadow_keys: Columns of the rows to log with them, by which labels can be joined; a DataFrame's further columns
        too.

    Example:
      >>> with RestClient("http://localhost:8501", "htlnet") as client:
      ...     scores = client.predict(frame)  # one column per target
      ...     ranked = client.predict_candidates({"user_id": "u7", "tab": 1}, items)

    Raises:
      InputError: An argument is not usable.
    """

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 10.0,
        retries: int = 2,
        max_connections: int = 16,
        verify: ssl.SSLContext | bool = True,
        schema: Schema | str | Path | None = None,
        shadow: str | int | None = None,
        shadow_log: str | Path | None = None,
        shadow_keys: Sequence[str] = (),
    ) -> None:
        parsed = rest_url(url)
        check_limits(timeout=timeout, retries=retries, max_connections=max_connections)
        self._url = str(parsed).rstrip("/")
        self._path = ModelAddress(model_name, version, label).path
        self._calls = Calls(self._url, schema)
        context = httpx.create_ssl_context(verify=verify)

        def connect() -> httpx.Client:
            options = http_options(
                parsed, QuickAckTransport, timeout=timeout, max_connections=max_connections, verify=context
            )
            return httpx.Client(**options)

        self._connections = OwnConnections(connect)
        self._timeout = timeout
        self._retries = retries
        open_shadow = functools.partial(
            RestClient, url, model_name, timeout=timeout, retries=0, max_connections=1, verify=verify, schema=schema
        )
        self._shadow = shadow_of(
            shadow, shadow_log, shadow_keys, ModelAddress(model_name, version, label), open_shadow, timeout=timeout
        )

    def predict(self, rows: Rows, signature_name: str = DEFAULT_SIGNATURE, *, row_format: bool = False) -> pd.DataFrame:
        """Scores rows.

        Args:
          rows: A DataFrame, a list of dicts (one per row), or a dict of lists or arrays (one per column). Columns of a
            DataFrame that the model does not know are left out; in dicts they are refused. Whole numbers for a string
            column are sent as their decimal text, UUIDs as theirs; decimals are numbers like others; None and NaN are
            sent as "" (string), -2**63 (int64), NaN (float). With a schema, whatever training takes, by the table's
            names; the columns of targets, weights and the timestamp may be there too. For a signature whose one input
            is `examples`, the columns of `serving_default`: each row is sent as a serialized tf.Example. `classify` and
            `regress` take such examples made by the caller, as bytes in the column `inputs`.
          signature_name: Signature to call.
          row_format: Send `instances`, as requests by hand do, in place of columns, which are smaller and faster.

        Returns:
          One row per input row, in the same order; a DataFrame's index is kept. One column per output, in funnel order,
          which this package's exports carry (other servables: in alphabetical order, for a server gives them in another
          order each time): `[N]` outputs under their own key, `[N, K]` outputs as `key_0` .. `key_{K-1}`. The dtypes
          are the outputs' own.

        Raises:
          InputError: The rows do not fit the signature, or the model has no such signature; no row was sent.
          ServingError: The server refused the request (`RefusedError`), took too long (`TimedOutError`), or could not
            be reached or was too busy (`UnavailableError`).
        """
        return self._watched(
            self._calls.predict(rows, signature_name, row_format=row_format),
            "predict",
            rows,
            signature_name,
            row_format=row_format,
        )

    def predict_candidates(self, user: User, items: Rows, signature_name: str = CANDIDATES_SIGNATURE) -> pd.DataFrame:
        """Scores many items for one user, sending what belongs to the user once.

        Args:
          user: Column -> value, for the columns of user and context: those whose declared shape is `[1]`; or a
            DataFrame of one row, whose further columns are left out.
          items: The other columns, one row per item, in any form that `predict` takes.
          signature_name: Signature to call.

        Returns:
          One row per item, as from `predict`.

        Raises:
          InputError: As in `predict`.
          ServingError: As in `predict`.
        """
        call = self._calls.predict_candidates(user, items, signature_name)
        return self._watched(call, "predict_candidates", user, items, signature_name)

    def rank(self, user: User, items: Rows, k: int = 10) -> pd.DataFrame:
        """The best items for one user, sorted on the server by the score of the model's ranking.

        Args:
          user: Column -> value, for the columns of user and context; or a DataFrame of one row, whose further columns
            are left out.
          items: The other columns, one row per item, in any form that `predict` takes.
          k: How many items are wanted.

        Returns:
          The `k` best items, or all if there are fewer, best first: `score` and a column per target, in funnel order;
          the index is that of the items' own rows, so that `items.loc[ranked.index]` or a join finds them. Of items
          with equal scores the one that stands first comes first.

        Raises:
          InputError: `k` is below 1, or the model has no signature `ranked`, which needs a `ranking` in its schema; and
            as in `predict`.
          ServingError: As in `predict`.
        """
        return self._watched(self._calls.rank(user, items, k), "rank", user, items, k)

    def exceedance(
        self, rows: Rows, thresholds: float | Iterable[float], signature_name: str = EXCEEDANCE_SIGNATURE
    ) -> pd.DataFrame:
        """The probabilities that amounts exceed thresholds, of a model whose schema has `quantiles`.

        Args:
          rows: As of `predict`.
          thresholds: In the amounts' unit, one or several; all rows share them.
          signature_name: Signature to call.

        Returns:
          One row per input row, as from `predict`; per amount P(y > t) as `{name}_above_{t}` for each threshold, and
          P(y > 0) as `{name}_positive`: what `htlnet_tf.exceedance` gives of the model in memory.

        Raises:
          InputError: As in `predict`; or a threshold is no finite number.
          ServingError: As in `predict`.
        """
        call = self._calls.exceedance(rows, thresholds, signature_name)
        return self._watched(call, "exceedance", rows, thresholds, signature_name)

    def signature(self, name: str = DEFAULT_SIGNATURE) -> Signature:
        """The inputs and outputs of a signature, read from the server on first use.

        Args:
          name: Signature name.

        Returns:
          The signature.

        Raises:
          InputError: The model has no signature of this name with inputs.
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.signature(name), self._answer)

    def status(self) -> dict[str, Any]:
        """The state of the model's versions; a label is not regarded by TF Serving here.

        Returns:
          The parsed reply: `{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {...}}]}`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.status(), self._answer)

    def metadata(self) -> dict[str, Any]:
        """The model's name, version and signatures.

        Returns:
          The parsed reply, with `model_spec` and `metadata`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return run(self._calls.metadata(), self._answer)

    def close(self) -> None:
        """Closes the kept connections; a shadow first ends what waits, for `timeout` seconds at most."""
        if self._shadow is not None:
            self._shadow.close()
        for http, _ in self._connections.close():
            http.close()

    def __enter__(self) -> RestClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _watched(self, call: Call[pd.DataFrame], method: str, *arguments: Any, **named: Any) -> pd.DataFrame:
        if self._shadow is None:
            return run(call, self._answer)
        with self._shadow.watch(method, arguments, named) as first:
            scores = first.scores = run(call, self._answer)
        return scores

    def _answer(self, question: Question) -> Any:
        return answer_of(question, self._reply(request_of(question, self._path)), self._url)

    def _reply(self, request: Request) -> dict[str, Any]:
        for delay in delays(self._retries):
            try:
                return self._attempt(request)
            except ServingError as error:
                if not is_retryable(error):
                    raise
            time.sleep(delay)
        return self._attempt(request)

    def _attempt(self, request: Request) -> dict[str, Any]:
        with told_by_kind(self._url, self._timeout):
            response = self._connections.get().request(
                request.method, f"{self._url}{request.path}", content=request.body, headers=request.headers
            )
        return parse_reply(response.content, response.status_code, response.reason_phrase, self._url)
