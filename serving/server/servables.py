"""Version folders of SavedModels: found, loaded, and run on numpy arrays as TF Serving runs them."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format  # type: ignore[import-untyped]
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, Signature, signatures_from_json

_SERVE_TAG = "serve"

# TensorFlow, core/protobuf/error_codes.proto.
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)


class LoadedVersion:
    """One loaded version of a model.

    The SavedModel runs in a session, as in TF Serving, and not through `tf.saved_model.load`: so declared shapes are
    not enforced, messages are those of the graph, and a SavedModel that loads in Python only is refused here too.
    The session is closed when nobody refers to the object any more, so a version that is no longer served stays good
    for the requests that have it already.

    Args:
      path: The version folder, with `saved_model.pb`.
      timeout_seconds: How long one run of the graph may take; None for no limit.
      check: Called with the arrays of every run, to refuse them by a `StatusError`; None to refuse nothing.

    Attributes:
      signatures: Signature name -> signature.
      definitions: Signature name -> SignatureDef message.
      signature_defs: Signature name -> SignatureDef in protobuf's JSON form, for `/metadata`.

    Raises:
      StatusError: The folder holds no SavedModel that can be loaded, or a signature of it names a tensor that the graph
        does not have. TF Serving loads the latter and fails every request; here the version before it goes on.
    """

    def __init__(
        self,
        path: Path,
        *,
        timeout_seconds: float | None = None,
        check: Callable[[Mapping[str, np.ndarray]], None] | None = None,
    ) -> None:
        self._check = check
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=_session_config())
        self._close = weakref.finalize(self, self._session.close)
        self._timeout_ms = 0 if timeout_seconds is None else max(1, round(1000 * timeout_seconds))
        try:
            with graph.as_default(), without_deprecation_note():
                meta_graph = tf.compat.v1.saved_model.loader.load(self._session, [_SERVE_TAG], str(path))
            self.definitions: dict[str, meta_graph_pb2.SignatureDef] = dict(meta_graph.signature_def)
            self.signature_defs: dict[str, Any] = {
                name: json_format.MessageToDict(
                    definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
                )
                for name, definition in meta_graph.signature_def.items()
            }
            self.signatures: dict[str, Signature] = signatures_from_json(self.signature_defs)
            self._callables = {
                name: self._make_callable(signature)
                for name, signature in self.signatures.items()
                if signature.inputs and signature.outputs and not _has_composite_tensors(signature)
            }
        except Exception as error:  # whatever a damaged folder makes the loader raise is told as a failed load
            self._close()
            raise _load_error(error, path) from error

    def signature(self, name: str) -> Signature:
        """Finds a signature.

        Args:
          name: Signature name; "" is `serving_default`.

        Returns:
          The signature, with at least one input.

        Raises:
          StatusError: INVALID_ARGUMENT, if there is none, or it has no inputs.
        """
        key = name or DEFAULT_SIGNATURE
        if key not in self.signatures:
            raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
        signature = self.signatures[key]
        if not signature.inputs:
            raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
        return signature

    def run(self, name: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          name: Signature name; "" is `serving_default`.
          feeds: Array per input alias, of the input's dtype; object arrays of bytes for strings.

        Returns:
          Array per output alias, object arrays of bytes for strings.

        Raises:
          StatusError: With TensorFlow's code and message, if the graph fails.
        """
        signature = self.signature(name)
        if self._check is not None:
            self._check(feeds)
        function = self._callable(name or DEFAULT_SIGNATURE)
        try:
            values = function(*(feeds[alias] for alias in signature.inputs))
        except tf.errors.OpError as error:
            raise StatusError(_code(error), error.message) from error
        except UnicodeDecodeError as error:
            # Python cannot make an error of a message with bytes of the request in it, and forgets its code. What
            # quotes the request finds fault with it.
            message = bytes(error.object).decode("utf-8", "surrogateescape")
            raise StatusError("INVALID_ARGUMENT", message) from error
        except (TypeError, ValueError) as error:  # an array that TensorFlow cannot take for this input
            raise invalid_argument(str(error)) from error
        return {alias: _array(value) for alias, value in zip(signature.outputs, values, strict=True)}

    def _callable(self, key: str) -> Callable[..., list[Any]]:
        if key in self._callables:
            return self._callables[key]
        if _has_composite_tensors(self.signatures[key]):
            raise StatusError("UNIMPLEMENTED", f'Signature "{key}" has sparse or composite tensors')
        # TensorFlow, graph/subgraph.cc.
        raise invalid_argument("Must specify at least one target to fetch or execute.")

    def _make_callable(self, signature: Signature) -> Callable[..., list[Any]]:
        options = config_pb2.CallableOptions()
        options.feed.extend(tensor.name for tensor in signature.inputs.values())
        options.fetch.extend(tensor.name for tensor in signature.outputs.values())
        options.run_options.timeout_in_ms = self._timeout_ms
        # Session.run would check declared shapes and add Python frames to messages; TF Serving does neither.
        function: Callable[..., list[Any]] = self._session._make_callable_from_options(options)
        return function

    def close(self) -> None:
        """Frees the session. It must not be running; without this call it is freed with the object."""
        self._callables.clear()
        self._close()


def _session_config() -> config_pb2.ConfigProto:
    """TensorFlow's graph optimizer takes most of a load: it goes over each signature once, not twice.

    The second time finds next to nothing, and its pass for memory looks for what only training and GPUs have.
    """
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    return config


@contextlib.contextmanager
def without_deprecation_note() -> Iterator[None]:
    """Keeps TensorFlow's notes on deprecated functions out of the log."""

    # The session loader is what TF Serving's own loader corresponds to; users can do nothing about the note.
    def keep(record: logging.LogRecord) -> bool:
        return "deprecated" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _array(value: Any) -> np.ndarray:
    # NumPy would make a type of its own of a single string, without the zero bytes at its end.
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def _has_composite_tensors(signature: Signature) -> bool:
    return not all(tensor.name for tensor in (*signature.inputs.values(), *signature.outputs.values()))


def _code(error: tf.errors.OpError) -> str:
    return _CODES[error.error_code] if 0 < error.error_code < len(_CODES) else "UNKNOWN"


def _load_error(error: Exception, path: Path) -> StatusError:
    if isinstance(error, tf.errors.OpError):
        # Python's session adds a beginning and the node to what the graph says.
        message = error.message.removeprefix("Graph execution error:\n\n").split("\n\t [[")[0]
        return StatusError(_code(error), message)
    # What TensorFlow's C++ loader, which TF Serving uses, says of the same folder (cc/saved_model/reader.cc).
    file = path / "saved_model.pb"
    if not file.exists() and not file.with_suffix(".pbtxt").exists():
        return StatusError(
            "NOT_FOUND",
            "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
            f"`saved_model.pb`)\nSpecified file path: {path}",
        )
    if isinstance(error, OSError):
        return StatusError("DATA_LOSS", f"Can't parse {file} as binary proto")
    no_meta_graph = isinstance(error, RuntimeError) and "MetaGraphDef" in str(error)
    return StatusError("NOT_FOUND" if no_meta_graph else "INVALID_ARGUMENT", str(error) or type(error).__name__)
