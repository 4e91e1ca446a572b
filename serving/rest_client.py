"""Client of TF Serving's REST API: tables in, tables of scores out. Needs httpx, numpy and pandas only."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pandas as pd

from htlnet_tf.errors import InputError
from htlnet_tf.serving.columns import Rows, to_columns
from htlnet_tf.serving.errors import ServingError
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, Signature, TensorInfo, signatures_from_json

_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_DTYPES = {
    "DT_FLOAT": np.float32,
    "DT_DOUBLE": np.float64,
    "DT_INT8": np.int8,
    "DT_INT16": np.int16,
    "DT_INT32": np.int32,
    "DT_INT64": np.int64,
    "DT_UINT8": np.uint8,
    "DT_UINT32": np.uint32,
    "DT_UINT64": np.uint64,
    "DT_BOOL": np.bool_,
}


class RestClient:
    """Scores rows with a model behind TF Serving's REST API (or an `EmbeddedServer`).

    The signature is read once from the server and kept, so input that does not fit it is refused before anything is
    sent, with the column and the row. Connections are kept open between requests; the client may be used by several
    threads. Close it, or use it as a context manager.

    Args:
      url: Base URL of the server, such as `"http://localhost:8501"`.
      model_name: Name of the model on the server.
      version: Version to ask; None for the latest.
      timeout: Seconds to wait for a connection, and for each part of an answer.

    Example:
      >>> with RestClient("http://localhost:8501", "htlnet") as client:
      ...     scores = client.predict(frame)  # one column per target

    Raises:
      InputError: The URL, the name, the version or the timeout is not usable.
    """

    def __init__(self, url: str, model_name: str, *, version: int | None = None, timeout: float = 10.0) -> None:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError) as error:
            raise InputError(f"the server's URL must be like http://localhost:8501, but is {url!r}: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise InputError(f"the server's URL must be like http://localhost:8501, but is {url!r}")
        if not model_name:
            raise InputError("the model's name must not be empty")
        if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
            raise InputError(f"the version must be a number from 0, or None for the latest, but is {version!r}")
        if not timeout > 0:
            raise InputError(f"the timeout must be a positive number of seconds, but is {timeout!r}")
        self._url = str(parsed).rstrip("/")
        self._model = f"/v1/models/{quote(model_name, safe='')}"
        if version is not None:
            self._model += f"/versions/{version}"
        # A proxy set in the environment cannot reach the caller's own machine.
        self._http = httpx.Client(timeout=timeout, trust_env=parsed.host not in _LOOPBACK)
        self._timeout = timeout
        self._signatures: dict[str, Signature] | None = None
        self._lock = threading.Lock()

    def predict(self, rows: Rows, signature_name: str = DEFAULT_SIGNATURE) -> pd.DataFrame:
        """Scores rows.

        Args:
          rows: A DataFrame, a list of dicts (one per row), or a dict of lists or arrays (one per column). Columns of a
            DataFrame that the model does not know are left out; in dicts they are refused. Integers for a string
            column are sent as their decimal text; None and NaN as "" (string), -2**63 (int64), NaN (float).
          signature_name: Signature to call.

        Returns:
          One row per input row, in the same order; a DataFrame's index is kept. One column per output, by name: `[N]`
          outputs under their own key, `[N, K]` outputs as `key_0` .. `key_{K-1}`. The dtypes are the outputs' own.

        Raises:
          InputError: The rows do not fit the signature, or the model has no such signature; nothing was sent.
          ServingError: The server refused the request or did not answer.
        """
        signature = self.signature(signature_name)
        columns = to_columns(rows, signature)
        reply = self._request("POST", ":predict", _body(signature_name, columns.values))
        outputs = reply.get("outputs") if isinstance(reply, dict) else None
        if len(signature.outputs) == 1:
            outputs = dict.fromkeys(signature.outputs, outputs)
        if not isinstance(outputs, dict) or outputs.keys() != signature.outputs.keys():
            raise ServingError(f"the reply of {self._url} has not the outputs that the model declares", 200)
        # The server's order of outputs varies from request to request.
        series: dict[str, np.ndarray] = {}
        for key in sorted(outputs):
            series.update(_output_columns(key, outputs[key], signature.outputs[key], len(columns.index)))
        return pd.DataFrame(series, index=columns.index)

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
        with self._lock:
            if self._signatures is None:
                try:
                    definitions = self.metadata()["metadata"]["signature_def"]["signature_def"]
                    self._signatures = signatures_from_json(definitions)
                except (KeyError, TypeError, AttributeError, ValueError) as error:
                    raise ServingError(f"{self._url} gives metadata that is not TF Serving's", 200) from error
            callable_signatures = {key: value for key, value in self._signatures.items() if value.inputs}
        if name not in callable_signatures:
            raise InputError(f"the model has the signatures {sorted(callable_signatures)}, but not '{name}'")
        return callable_signatures[name]

    def status(self) -> dict[str, Any]:
        """The state of the model's versions.

        Returns:
          The parsed reply: `{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {...}}]}`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return dict(self._request("GET", ""))

    def metadata(self) -> dict[str, Any]:
        """The model's name, version and signatures.

        Returns:
          The parsed reply, with `model_spec` and `metadata`.

        Raises:
          ServingError: The server refused the request or did not answer.
        """
        return dict(self._request("GET", "/metadata"))

    def close(self) -> None:
        """Closes the kept connections."""
        self._http.close()

    def __enter__(self) -> RestClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _request(self, method: str, path: str, body: bytes | None = None) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            response = self._http.request(method, f"{self._url}{self._model}{path}", content=body, headers=headers)
        except httpx.ConnectError as error:
            raise ServingError(f"no server answers at {self._url}: {error}") from error
        except httpx.TimeoutException as error:
            raise ServingError(f"{self._url} did not answer within {self._timeout:g} s") from error
        except httpx.HTTPError as error:
            raise ServingError(f"the connection to {self._url} broke: {error or type(error).__name__}") from error
        try:
            # Strings that a model gives out are not always UTF-8.
            reply = json.loads(response.content.decode("utf-8", "replace"))
        except ValueError:
            reply = None
        if response.status_code != 200:
            message = reply.get("error") if isinstance(reply, dict) else None
            raise ServingError(str(message or response.reason_phrase or "no message"), response.status_code)
        if not isinstance(reply, dict):
            raise ServingError(f"the reply of {self._url} is not a JSON object: is it a TF Serving REST port?", 200)
        return reply


def _body(signature_name: str, columns: dict[str, list[Any]]) -> bytes:
    # NaN is written as the bare token, which is not JSON, but what TF Serving reads and writes.
    text = json.dumps({"signature_name": signature_name, "inputs": columns}, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        for name, values in columns.items():
            for position, value in enumerate(values):
                if not _is_encodable(value):
                    raise InputError(
                        f"column '{name}' must hold text that UTF-8 can carry, but row {position} holds {value!r}"
                    ) from None
        raise


def _is_encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _output_columns(key: str, values: Any, info: TensorInfo, size: int) -> dict[str, np.ndarray]:
    try:
        array: np.ndarray = np.array(values, dtype=_DTYPES.get(info.dtype, object))
    except (ValueError, TypeError, OverflowError) as error:
        raise ServingError(f"output '{key}' is not a table of {info.type_name} values: {error}", 200) from error
    if array.ndim not in (1, 2) or len(array) != size:
        raise ServingError(
            f"output '{key}' must have one value or one list per row, but is {list(array.shape)} for {size} rows",
            200,
        )
    if array.ndim == 1:
        return {key: array}
    return {f"{key}_{position}": array[:, position] for position in range(array.shape[1])}
