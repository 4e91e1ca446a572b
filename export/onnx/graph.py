"""A trained model -> an ONNX graph from rows of its embedding tables and raw numbers to scores."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from htlnet_tf.encoding.encoder import stacked
from htlnet_tf.errors import InputError
from htlnet_tf.export.onnx.operators import handlers
from htlnet_tf.export.signatures.candidates import embed_fields
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.scoring.scores import scores_of_outputs
from htlnet_tf.serving.onnx.folder import GRAPH_FILE, WEIGHTS_FILE

OPSET = 17
_PAGE = 4096  # a file can be mapped into memory from a multiple of it on


def save_graph(model: ScoringModel, folder: Path) -> None:
    """Writes `model.onnx`, and the embedding tables into `model.onnx.data`, which may be larger than the 2 GB that a
    message of protocol buffers can have, and which ONNX Runtime maps into memory.

    Inputs: by feature that is looked up, int32 [N, slots], see `Document.lookups`; by other feature with a column its
    raw form, float32 [N], or int64 [N] of a timestamp. Outputs: those of the schema, float32 [N] or [N, K].

    Args:
      model: A trained model.
      folder: Where to.

    Raises:
      InputError: The model needs something that ONNX has no operators for.
    """
    specs = graph_inputs(model)
    tables = [[np.asarray(table) for table in member.embedding.tables] for member in model.members]
    flat = [table for of_member in tables for table in of_member]
    outputs = list(model.schema.outputs)

    def scored(*arguments: tf.Tensor) -> list[tf.Tensor]:
        given, rest = dict(zip(specs, arguments, strict=False)), arguments[len(specs) :]
        parts = [rest[i * len(tables[0]) : (i + 1) * len(tables[0])] for i in range(len(tables))]
        scores = _scores(model, given, parts)
        return [tf.identity(scores[name]) for name in outputs]

    signature = [
        *(tf.TensorSpec(spec.shape, spec.dtype, f"input_{i}") for i, spec in enumerate(specs.values())),
        *(tf.TensorSpec(table.shape, tf.float32, f"table_{i}") for i, table in enumerate(flat)),
    ]
    function = tf.function(scored, input_signature=signature, autograph=False).get_concrete_function()
    proto, inputs, found = converted(function, len(signature))
    _require_operators(proto)
    names = dict(zip(inputs, (*specs, *(f"table_{i}" for i in range(len(flat)))), strict=True))
    _rename(proto, names | dict(zip(found, outputs, strict=True)))
    with (folder / WEIGHTS_FILE).open("wb") as file:
        for i, table in enumerate(flat):
            _store(proto, f"table_{i}", table, file)
    (folder / GRAPH_FILE).write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(folder / GRAPH_FILE))


def graph_inputs(model: ScoringModel) -> dict[str, tf.TensorSpec]:
    """By feature, what the graph takes: rows of what is looked up, and the other columns in raw form."""
    encoder = model.encoder
    slots = {field.name: field.slots for field in encoder.layout.fields}
    raw = encoder.raw_specs()
    return {
        name: tf.TensorSpec([None, slots[name]], tf.int32) if kind.is_looked_up else raw[name]
        for name, kind in encoder.kinds.items()
        if kind.is_looked_up or name in raw
    }


def _scores(
    model: ScoringModel, given: Mapping[str, tf.Tensor], tables: Sequence[Sequence[tf.Tensor]]
) -> dict[str, tf.Tensor]:
    encoder = model.encoder
    known = {name: value for name, value in given.items() if encoder.kinds[name].is_looked_up}
    raw = {name: value for name, value in given.items() if name not in known}
    count = tf.shape(next(iter(given.values())))[0]
    rows = encoder.field_rows(raw, known)
    numbers = stacked(encoder.numbers(raw, rows), count)
    outputs = [
        member.tower_outputs(embed_fields(encoder.layout, own, rows, frozenset(), count), {"numeric": numbers})
        for member, own in zip(model.members, tables, strict=True)
    ]
    return scores_of_outputs(model, outputs, rows.__getitem__)


def converted(function: Any, num_inputs: int) -> tuple[Any, list[str], list[str]]:
    """A graph, and what it calls its inputs and outputs.

    Not by `tf2onnx.convert.from_function`, which takes constants that a function has captured for inputs.
    """
    import tf2onnx

    frozen = convert_variables_to_constants_v2(function)
    inputs, outputs = [tensor.name for tensor in frozen.inputs[:num_inputs]], [t.name for t in frozen.outputs]
    log = logging.getLogger("tf2onnx")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what it cannot convert is told by `_require_operators`
    try:
        proto, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=inputs,
            output_names=outputs,
            opset=OPSET,
            custom_op_handlers=handlers(),
        )
    finally:
        log.setLevel(level)
    return proto, inputs, outputs


def _require_operators(proto: Any) -> None:
    unknown = sorted({node.op_type for node in _nodes(proto.graph) if not onnx.defs.has(node.op_type, node.domain)})
    if unknown:
        raise InputError(
            f"this model cannot be written as ONNX, which has no operators for TensorFlow's {', '.join(unknown)}: "
            "quantiles of gamma distributions need such, or an objective of your own; declare no quantiles, or export "
            "a servable (--format servable)"
        )


def _nodes(graph: Any) -> list[Any]:
    """All nodes, those of branches and loops among them."""
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _nodes(attribute.g)
    return found


def _rename(proto: Any, names: Mapping[str, str]) -> None:
    graph = proto.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in _nodes(graph):
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _store(proto: Any, name: str, table: np.ndarray, file: Any) -> None:
    """Puts a table into the file of weights, and in place of the graph's input a reference to it."""
    graph = proto.graph
    kept = [value for value in graph.input if value.name != name]
    del graph.input[:]
    graph.input.extend(kept)
    file.write(b"\0" * (-file.tell() % _PAGE))
    values = np.ascontiguousarray(table, "<f4")
    tensor = graph.initializer.add(
        name=name, data_type=onnx.TensorProto.FLOAT, dims=table.shape, data_location=onnx.TensorProto.EXTERNAL
    )
    for key, value in (("location", WEIGHTS_FILE), ("offset", file.tell()), ("length", values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    values.tofile(file)
