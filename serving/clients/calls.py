"""The calls of a REST client without the network: which requests they make, and what they make of the answers.

Each call is a generator that yields requests, is sent the parsed answers, and returns the result. `RestClient` and
`AsyncRestClient` run them, so that the two differ in nothing but how they wait.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.bodies import columnar_body, row_body
from htlnet_tf.serving.clients.columns import Columns, Rows, to_candidate_columns, to_columns
from htlnet_tf.serving.clients.replies import OtherOutputsError, read_signatures, reply_outputs, score_frame
from htlnet_tf.serving.errors import RefusedError, ServingError
from htlnet_tf.serving.signatures import Signature

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Args:
      method: `"GET"` or `"POST"`.
      path: Beginning with `/v1/models/`.
      body: JSON; None for a GET.
    """

    method: str
    path: str
    body: bytes | None = None


Call = Generator[Request, dict[str, Any], _Result]
ColumnsFor = Callable[[Signature], Columns]


class RestCalls:
    """The calls of one model.

    Args:
      server: URL, for messages.
      path: Of the model, such as `"/v1/models/htlnet/labels/stable"`.
    """

    def __init__(self, server: str, path: str) -> None:
        self._server = server
        self._path = path
        self._signatures: dict[str, Signature] | None = None

    def predict(self, rows: Rows, signature_name: str, row_format: bool) -> Call[pd.DataFrame]:
        """Scores rows; see `RestClient.predict`."""
        return (yield from self._scores(signature_name, lambda signature: to_columns(rows, signature), row_format))

    def predict_candidates(self, user: Mapping[str, Any], items: Rows, signature_name: str) -> Call[pd.DataFrame]:
        """Scores items for one user; see `RestClient.predict_candidates`."""
        return (yield from self._scores(signature_name, lambda taken: to_candidate_columns(user, items, taken), False))

    def signature(self, name: str) -> Call[Signature]:
        """The inputs and outputs of a signature; see `RestClient.signature`."""
        signatures = self._signatures  # another thread may forget them meanwhile
        if signatures is None:
            signatures = yield from self._read_signatures()
        return find_signature(signatures, name)

    def status(self) -> Call[dict[str, Any]]:
        """The state of the model's versions; see `RestClient.status`."""
        return (yield Request("GET", self._path))

    def metadata(self) -> Call[dict[str, Any]]:
        """The model's name, version and signatures; see `RestClient.metadata`."""
        return (yield Request("GET", f"{self._path}/metadata"))

    def _read_signatures(self) -> Call[dict[str, Signature]]:
        signatures = self._signatures = read_signatures((yield from self.metadata()), self._server)
        return signatures

    def _scores(self, name: str, columns_for: ColumnsFor, row_format: bool) -> Call[pd.DataFrame]:
        kept = self._signatures
        signatures = (yield from self._read_signatures()) if kept is None else kept
        try:
            return (yield from self._attempt(signatures, name, columns_for, row_format))
        except (InputError, OtherOutputsError) as error:
            if kept is None and isinstance(error, InputError):
                raise
            # Perhaps a new version is served, which takes or gives other columns than the one of the kept signatures.
            try:
                newer = yield from self._read_signatures()
            except ServingError as unread:
                raise error from unread
            if newer == signatures:
                raise
        return (yield from self._attempt(newer, name, columns_for, row_format))

    def _attempt(
        self, signatures: Mapping[str, Signature], name: str, columns_for: ColumnsFor, row_format: bool
    ) -> Call[pd.DataFrame]:
        signature = find_signature(signatures, name)
        columns = columns_for(signature)
        body = (row_body if row_format else columnar_body)(name, columns.values)
        try:
            reply = yield Request("POST", f"{self._path}:predict", body)
        except RefusedError as error:
            if error.status == 400:
                # Perhaps a new version is served, which takes other columns: the next call asks again.
                self._signatures = None
            raise
        outputs = reply_outputs(reply, signature, self._server, row_format=row_format)
        return score_frame(outputs, signature, columns.index)


def find_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Finds a signature by name.

    Args:
      signatures: By name.
      name: Of one of them.

    Returns:
      The signature.

    Raises:
      InputError: There is none of this name.
    """
    if name not in signatures:
        raise InputError(f"the model has the signatures {sorted(signatures)}, but not '{name}'")
    return signatures[name]
