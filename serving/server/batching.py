"""The limits that TF Serving's batching puts on a request, for a client that is tested without it.

Requests are not merged here: one process on one machine gains nothing by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htlnet_tf.errors import InputError
from htlnet_tf.serving.errors import invalid_argument

# The fields of BatchingParameters (TF Serving, servables/tensorflow/session_bundle_config.proto). The package
# tensorflow-serving-api does not have the message, and so its text form is read here.
_WRAPPED = frozenset(
    (
        *("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads", "thread_pool_name"),
        *("enable_large_batch_splitting", "max_execution_batch_size"),
    )
)
_PLAIN = frozenset(("allowed_batch_sizes", "pad_variable_length_inputs"))
_DEFAULT_MAX_BATCH_SIZE = 1000

_COMMENT = re.compile(r"#.*")
_FIELD = re.compile(
    r'\s*(\w+)\s*(?::?\s*\{\s*value\s*:\s*("[^"]*"|\w+)\s*[;,]?\s*\}|:\s*("[^"]*"|\w+|\[[\d\s,]*\]))\s*[;,]?'
)


@dataclass(frozen=True)
class BatchingRules:
    """What a request must be like to be batched.

    Args:
      max_batch_size: The most rows one request may have.
    """

    max_batch_size: int

    def check(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Refuses a request that TF Serving's batching refuses.

        Args:
          feeds: Array per input alias.

        Raises:
          StatusError: INVALID_ARGUMENT, if an array has no rows' dimension, they do not agree on it, or it is too
            large. Source: TF Serving, batching/batching_session.cc.
        """
        if any(array.ndim == 0 for array in feeds.values()):
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        sizes = {len(array) for array in feeds.values()}
        if len(sizes) > 1:
            raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
        for size in sizes:
            if size > self.max_batch_size:
                raise invalid_argument(
                    f"Task size {size} is larger than maximum input batch size {self.max_batch_size}"
                )


def read_batching_rules(path: Path) -> BatchingRules:
    """Reads batching parameters.

    Args:
      path: A text `BatchingParameters`, as for `--batching_parameters_file`.

    Returns:
      The rules.

    Raises:
      InputError: The file cannot be read, is no such text, or its sizes do not fit together.
    """
    rule = "a batching parameters file must be a BatchingParameters in protobuf's text form"
    try:
        text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{rule}, but {path} cannot be read: {error}") from error
    values: dict[str, str] = {}
    allowed: list[int] = []
    position = 0
    while text[position:].strip():
        match = _FIELD.match(text, position)
        name = match[1] if match else ""
        if match is None or name not in (_WRAPPED if match[2] is not None else _PLAIN):
            raise InputError(f"{rule}, but {path} is not, at '{text[position:].strip().splitlines()[0][:80]}'")
        if name == "allowed_batch_sizes":
            allowed += [int(number) for number in re.findall(r"\d+", match[3])]
        else:
            values[name] = match[2] or match[3]
        position = match.end()
    try:
        largest = int(values.get("max_batch_size", _DEFAULT_MAX_BATCH_SIZE))
        execution = int(values.get("max_execution_batch_size", largest))
    except ValueError as error:
        raise InputError(f"{rule}, but in {path} a size is not a number: {error}") from error
    bound = execution if values.get("enable_large_batch_splitting") == "true" else largest
    if allowed and (sorted(allowed) != allowed or allowed[-1] != bound):
        raise InputError(
            f"allowed_batch_sizes must grow up to the largest batch, {bound}, but in {path} they are {allowed}"
        )
    return BatchingRules(largest)
