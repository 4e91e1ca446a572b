"""The calls of a REST client without the network: which requests they make, and what they make of the answers.

Each call is a generator that yields requests, is sent the parsed answers, and returns the result. `RestClient` and
`AsyncRestClient` run them, so that the two differ in nothing but how they wait.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.bodies import columnar_body, row_body
from htlnet_tf.serving.clients.columns import Columns, Rows, to_candidate_columns, to_columns
from htlnet_tf.serving.clients.replies import OtherOutputsError, read_signatures, reply_outputs, score_frame
from htlnet_tf.serving.errors import RefusedError, ServingError
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, EXAMPLES_SIGNATURE, Signature

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
ColumnsFor = Callable[[Mapping[str, Signature]], Columns]

# What TensorFlow calls the one input of a signature for classification or regression (cc/saved_model/
# signature_constants.h); it takes serialized tf.Examples.
_EXAMPLES_INPUT = "inputs"


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
        return (
            yield from self._scores(
                signature_name, lambda signatures: predict_columns(rows, signatures, signature_name), row_format
            )
        )

    def predict_candidates(self, user: Mapping[str, Any], items: Rows, signature_name: str) -> Call[pd.DataFrame]:
        """Scores items for one user; see `RestClient.predict_candidates`."""
        return (
            yield from self._scores(
                signature_name,
                lambda signatures: to_candidate_columns(user, items, find_signature(signatures, signature_name)),
                False,
            )
        )

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
        columns, signature = columns_for(signatures), find_signature(signatures, name)
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


def predict_columns(rows: Rows, signatures: Mapping[str, Signature], name: str) -> Columns:
    """Converts rows to what a signature takes: the columns themselves, or serialized tf.Examples.

    Args:
      rows: As of `RestClient.predict`.
      signatures: Of the model, by name.
      name: Of the signature that will receive them.

    Returns:
      The columns.

    Raises:
      InputError: As in `to_columns`; or the signature takes examples that only the caller can make.
    """
    signature = find_signature(signatures, name)
    inputs = set(signature.inputs)
    if inputs == {EXAMPLES_SIGNATURE} and not _has_column(rows, EXAMPLES_SIGNATURE):
        # protobuf is imported by those alone who send examples
        from htlnet_tf.serving.clients.examples import to_example_columns

        return to_example_columns(rows, find_signature(signatures, DEFAULT_SIGNATURE))
    is_for_examples = inputs == {_EXAMPLES_INPUT} and signature.inputs[_EXAMPLES_INPUT].dtype == "DT_STRING"
    if is_for_examples and name != DEFAULT_SIGNATURE and not _has_column(rows, _EXAMPLES_INPUT):
        others = " or ".join(f"'{other}'" for other in (DEFAULT_SIGNATURE, EXAMPLES_SIGNATURE) if other in signatures)
        raise InputError(
            f"signature '{name}' takes serialized tf.Examples, as bytes in the column '{_EXAMPLES_INPUT}', one per row"
            + (f"; rows are taken by {others}" if others else "")
        )
    return to_columns(rows, signature)


def _has_column(rows: Rows, name: str) -> bool:
    first = rows[0] if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and rows else rows
    return isinstance(first, (pd.DataFrame, Mapping)) and name in first
