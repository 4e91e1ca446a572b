"""The calls of a client without the network: what they ask of a server, and what they make of the answers.

Each call is a generator that yields questions, is sent the answers, and returns the result. `RestClient`,
`AsyncRestClient` and `GrpcClient` put the questions, so that they differ in nothing but the transport.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from htlnet_tf.data.thresholds import checked_thresholds
from htlnet_tf.errors import InputError
from htlnet_tf.serving.clients.columns import Columns, Rows, to_candidate_columns, to_columns
from htlnet_tf.serving.clients.exceedance import exceedance_frame, exceedance_request
from htlnet_tf.serving.clients.ranked import asked_for, rank_columns, ranked_frame
from htlnet_tf.serving.clients.replies import OtherOutputsError, read_signatures, score_frame
from htlnet_tf.serving.clients.rows import User
from htlnet_tf.serving.errors import RefusedError, ServingError
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, EXAMPLES_SIGNATURE, RANKED_SIGNATURE, Signature

if TYPE_CHECKING:
    from htlnet_tf.schema import Schema
    from htlnet_tf.serving.clients.schema_rows import SchemaRows

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class StatusOf:
    """Asks for the state of the model's versions; the answer is TF Serving's JSON document."""


@dataclass(frozen=True)
class MetadataOf:
    """Asks for the model's name, version and signatures; the answer is TF Serving's JSON document."""


@dataclass(frozen=True)
class ScoresOf:
    """Asks for the outputs of rows; the answer has, by output alias, an array or nested lists.

    Args:
      signature_name: Signature to call.
      signature: Its inputs and outputs.
      columns: Input alias -> values, as `to_columns` gives them.
      row_format: Over REST, whether to send rows in place of columns.
    """

    signature_name: str
    signature: Signature
    columns: Mapping[str, list[Any]]
    row_format: bool


Question = StatusOf | MetadataOf | ScoresOf
Call = Generator[Question, Any, _Result]
ColumnsFor = Callable[[Mapping[str, Signature]], Columns]
Arrange = Callable[..., pd.DataFrame]
"""As `score_frame`: from outputs, signature, index and order to what the caller gets."""

# What TensorFlow calls the one input of a signature for classification or regression (cc/saved_model/
# signature_constants.h); it takes serialized tf.Examples.
_EXAMPLES_INPUT = "inputs"


def run(call: Call[_Result], answer: Callable[[Question], Any]) -> _Result:
    """Runs a call.

    Args:
      call: Of `Calls`.
      answer: Puts a question to the server; an `InputError` or `ServingError` of it is the call's to handle.

    Returns:
      The call's result.
    """
    try:
        question = next(call)
        while True:
            try:
                reply = answer(question)
            except (InputError, ServingError) as error:
                question = call.throw(error)
            else:
                question = call.send(reply)
    except StopIteration as done:
        result: _Result = done.value
        return result


class Calls:
    """The calls of one model.

    Args:
      server: URL, for messages.
      schema: As of `RestClient`.

    Raises:
      InputError: The schema cannot be read.
    """

    def __init__(self, server: str, schema: Schema | str | Path | None = None) -> None:
        self._server = server
        self._schema_rows: SchemaRows | None = None
        if schema is not None:
            # What reads rows by a schema takes a second to import; most callers have none.
            from htlnet_tf.serving.clients.schema_rows import SchemaRows

            self._schema_rows = SchemaRows(schema)
        self._signatures: dict[str, Signature] | None = None

    def predict(self, rows: Rows, signature_name: str, *, row_format: bool = False) -> Call[pd.DataFrame]:
        """Scores rows; see `RestClient.predict`."""
        return (
            yield from self._scores(
                signature_name,
                lambda signatures: predict_columns(rows, signatures, signature_name, self._schema_rows),
                row_format,
            )
        )

    def predict_candidates(self, user: User, items: Rows, signature_name: str) -> Call[pd.DataFrame]:
        """Scores items for one user; see `RestClient.predict_candidates`."""
        convert = to_candidate_columns if self._schema_rows is None else self._schema_rows.candidate_columns
        return (
            yield from self._scores(
                signature_name,
                lambda signatures: convert(user, items, find_signature(signatures, signature_name)),
                False,
            )
        )

    def rank(self, user: User, items: Rows, k: int) -> Call[pd.DataFrame]:
        """The best items for one user; see `RestClient.rank`."""
        wanted = asked_for(k)
        convert = to_candidate_columns if self._schema_rows is None else self._schema_rows.candidate_columns
        return (
            yield from self._scores(
                RANKED_SIGNATURE,
                lambda signatures: rank_columns(user, items, wanted, signatures, convert),
                False,
                ranked_frame,
            )
        )

    def exceedance(self, rows: Rows, thresholds: float | Iterable[float], signature_name: str) -> Call[pd.DataFrame]:
        """The probabilities that amounts exceed thresholds; see `RestClient.exceedance`."""
        asked = checked_thresholds(thresholds)
        return (
            yield from self._scores(
                signature_name,
                lambda signatures: exceedance_request(rows, asked, signatures, signature_name, self._schema_rows),
                False,
                lambda outputs, signature, index, order: exceedance_frame(outputs, signature, index, asked),
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
        return (yield StatusOf())

    def metadata(self) -> Call[dict[str, Any]]:
        """The model's name, version and signatures; see `RestClient.metadata`."""
        return (yield MetadataOf())

    def _read_signatures(self) -> Call[dict[str, Signature]]:
        # No lock: behind one, threads that ask a silent server would wait out their timeouts one after the other.
        signatures = self._signatures = read_signatures((yield from self.metadata()), self._server)
        return signatures

    def _scores(
        self, name: str, columns_for: ColumnsFor, row_format: bool, arrange: Arrange = score_frame
    ) -> Call[pd.DataFrame]:
        kept = self._signatures
        signatures = (yield from self._read_signatures()) if kept is None else kept
        try:
            return (yield from self._attempt(signatures, name, columns_for, row_format, arrange))
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
        return (yield from self._attempt(newer, name, columns_for, row_format, arrange))

    def _attempt(
        self,
        signatures: Mapping[str, Signature],
        name: str,
        columns_for: ColumnsFor,
        row_format: bool,
        arrange: Arrange,
    ) -> Call[pd.DataFrame]:
        columns, signature = columns_for(signatures), find_signature(signatures, name)
        try:
            outputs = yield ScoresOf(name, signature, columns.values, row_format)
        except RefusedError as error:
            if error.status == 400 or error.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"):
                # Perhaps a new version is served, which takes other columns: the next call asks again.
                self._signatures = None
            raise
        order = () if self._schema_rows is None else self._schema_rows.outputs
        return arrange(outputs, signature, columns.index, order=order)


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


def predict_columns(
    rows: Rows, signatures: Mapping[str, Signature], name: str, schema_rows: SchemaRows | None = None
) -> Columns:
    """Converts rows to what a signature takes: the columns themselves, or serialized tf.Examples.

    Args:
      rows: As of `RestClient.predict`.
      signatures: Of the model, by name.
      name: Of the signature that will receive them.
      schema_rows: Reads rows as training does; None: by the signature alone.

    Returns:
      The columns.

    Raises:
      InputError: As in `to_columns`; or the signature takes examples that only the caller can make.
    """
    signature = find_signature(signatures, name)
    inputs = set(signature.inputs)
    convert = to_columns if schema_rows is None else schema_rows.columns
    if inputs == {EXAMPLES_SIGNATURE} and not _has_column(rows, EXAMPLES_SIGNATURE):
        # protobuf is imported by those alone who send examples
        from htlnet_tf.serving.clients.examples import as_examples

        raw = find_signature(signatures, DEFAULT_SIGNATURE)
        return as_examples(convert(rows, raw), raw)
    is_for_examples = inputs == {_EXAMPLES_INPUT} and signature.inputs[_EXAMPLES_INPUT].dtype == "DT_STRING"
    if is_for_examples and name != DEFAULT_SIGNATURE and not _has_column(rows, _EXAMPLES_INPUT):
        others = " or ".join(f"'{other}'" for other in (DEFAULT_SIGNATURE, EXAMPLES_SIGNATURE) if other in signatures)
        raise InputError(
            f"signature '{name}' takes serialized tf.Examples, as bytes in the column '{_EXAMPLES_INPUT}', one per row"
            + (f"; rows are taken by {others}" if others else "")
        )
    # Examples that the caller made are in no schema.
    takes_examples = is_for_examples or inputs == {EXAMPLES_SIGNATURE}
    return (to_columns if takes_examples else convert)(rows, signature)


def _has_column(rows: Rows, name: str) -> bool:
    first = rows[0] if isinstance(rows, Sequence) and not isinstance(rows, (str, bytes)) and rows else rows
    return isinstance(first, (pd.DataFrame, Mapping)) and name in first
