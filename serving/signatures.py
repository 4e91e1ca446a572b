"""The signatures of a servable, read from the JSON form that TF Serving gives them in `/metadata`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_SIGNATURE = "serving_default"
CANDIDATES_SIGNATURE = "candidates"
RANKED_SIGNATURE = "ranked"
EXAMPLES_SIGNATURE = "examples"
EXCEEDANCE_SIGNATURE = "exceedance"
THRESHOLDS_INPUT = "thresholds"

# TensorFlow, core/framework/types.cc (DataTypeString), as messages spell them: "DT_FLOAT" is "float".
_TYPE_NAMES = {"DT_HALF": "half"}

_TARGET = re.compile(r"(?:.*/)?target_(\d+):0")


def target_tensor(signature_name: str, position: int) -> str:
    """How an export names the tensor of a target, so that who reads a signature knows the funnel's order.

    A signature's outputs are a map: they have no order, and TensorFlow numbers their tensors by the aliases' alphabet.

    Args:
      signature_name: Of the signature.
      position: Of the target in the funnel, from 0.
    """
    return f"{signature_name}/target_{position}:0"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Args:
      name: Name of the tensor in the graph, such as `"serving_default_price:0"`; empty for composite tensors.
      dtype: Type by its enum name, such as `"DT_FLOAT"`.
      shape: Declared shape, -1 for an unknown dimension; None if the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None

    @property
    def type_name(self) -> str:
        """The type as TensorFlow's messages spell it, such as `"float"`."""
        return _TYPE_NAMES.get(self.dtype, self.dtype.removeprefix("DT_").lower())


@dataclass(frozen=True)
class Signature:
    """A named function of a servable.

    Args:
      inputs: Input alias -> tensor.
      outputs: Output alias -> tensor, in funnel order where the tensors' names say it (`target_tensor`), else by
        alphabet.
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]

    @property
    def shared(self) -> frozenset[str]:
        """The inputs that take one value for all rows: those of a first dimension of 1."""
        return frozenset(name for name, info in self.inputs.items() if info.shape and info.shape[0] == 1)

    def without(self, name: str) -> Signature:
        """The signature without one of its inputs."""
        return Signature({key: info for key, info in self.inputs.items() if key != name}, self.outputs)

    def split(self) -> tuple[Signature, Signature]:
        """The signature with its shared inputs alone, and with the others alone."""
        shared = self.shared
        return (
            Signature({name: info for name, info in self.inputs.items() if name in shared}, self.outputs),
            Signature({name: info for name, info in self.inputs.items() if name not in shared}, self.outputs),
        )


def signatures_from_json(signature_defs: Mapping[str, Any]) -> dict[str, Signature]:
    """Reads signatures from the JSON form of `SignatureDef` messages.

    Args:
      signature_defs: Signature name -> SignatureDef as JSON with the proto's own field names. int64 values are strings,
        as protobuf's JSON form writes them (TF Serving, model_servers/http_rest_api_handler.cc).

    Returns:
      Signature name -> signature.
    """
    return {
        name: Signature(
            inputs=_tensors(definition.get("inputs", {})), outputs=_in_order(_tensors(definition.get("outputs", {})))
        )
        for name, definition in signature_defs.items()
    }


def _tensors(infos: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        alias: TensorInfo(name=info.get("name", ""), dtype=info.get("dtype", "DT_INVALID"), shape=_shape(info))
        for alias, info in sorted(infos.items())  # protobuf maps come in another order each time
    }


def _in_order(outputs: Mapping[str, TensorInfo]) -> Mapping[str, TensorInfo]:
    positions = {name: _TARGET.fullmatch(info.name) for name, info in outputs.items()}
    known = {name: int(found[1]) for name, found in positions.items() if found is not None}
    if len(known) < len(outputs):
        return outputs
    return {name: outputs[name] for name in sorted(outputs, key=lambda name: known[name])}


def _shape(info: Mapping[str, Any]) -> tuple[int, ...] | None:
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return None
    return tuple(int(dimension["size"]) for dimension in shape.get("dim", ()))
