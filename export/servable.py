"""The exported module: plain variables, lookup tables and named functions, and nothing of Keras."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

from htlnet_tf.export.examples import parse_examples
from htlnet_tf.export.signatures import signatures_of
from htlnet_tf.export.signatures.candidates import candidate_scores, candidate_specs
from htlnet_tf.export.signatures.signature import Scores, Traced
from htlnet_tf.export.stages import Stages
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema.names import argument_name
from htlnet_tf.scoring.scores import final_scores
from htlnet_tf.serving.signatures import target_tensor


class Servable(tf.Module):
    """What TensorFlow Serving loads: raw columns by name in, one key per target out.

    Each signature is a file of `htlnet_tf.export.signatures`.

    A column whose name no Python argument can have (`class`, `from`) is an input of that name to the server, as every
    column is. Only who calls a signature in Python, after `tf.saved_model.load`, calls it `class_`, see
    `htlnet_tf.schema.names.argument_name`. The targets' order is in the names of the outputs' tensors, see
    `htlnet_tf.serving.signatures.target_tensor`.

    A Keras object that is saved along may load in Python and still be refused by the server, so the module owns the
    variables and lookup tables themselves; Keras layers only trace the functions.

    Args:
      model: A trained model.
      stages: Told of each signature that has been traced.
    """

    def __init__(self, model: ScoringModel, stages: Stages | None = None) -> None:
        super().__init__(name="servable")
        encoder, schema = model.encoder, model.schema
        self._tables = list(encoder.tables)
        self._columns = tuple(encoder.raw_specs())
        traced = _traced(model)
        self._signatures = signatures_of(schema)
        self._orders = {name: signature.output_order(schema) for name, signature in self._signatures.items()}
        self._functions = {}
        for name in (stages or Stages()).each("trace", self._signatures):
            signature = self._signatures[name]
            outputs = functools.partial(signature.outputs, model, traced)
            function = tf.function(outputs, input_signature=[signature.spec(encoder)], autograph=False)
            self._functions[name] = function.get_concrete_function()
        # Only what the functions read: neither the optimizer's slots nor the Gumbel temperature travels along.
        self._weights = list({v.ref(): v for f in self._functions.values() for v in f.variables}.values())

    def save(self, directory: str | Path) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, str(directory), signatures=dict(self._functions))
        # TensorFlow 2 gives every signature the method name of predict. The server takes it for the other two verbs
        # as well, unless it runs with --enable_signature_method_name_check.
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
        for name, signature in self._signatures.items():
            if signature.method_name is not None:
                updater.replace_method_name(name, signature.method_name, tags="serve")
        updater.save()
        _name_tensors(Path(directory, "saved_model.pb"), self._columns, self._orders)
        fingerprinting_utils.write_fingerprint(str(directory))  # of the file as it is now


def _traced(model: ScoringModel) -> Traced:
    """What the signatures share."""
    encoder = model.encoder

    def function(outputs: Callable[[Any], Scores], spec: Any) -> Any:
        return tf.function(outputs, input_signature=[spec], autograph=False)

    scored = function(lambda raw: final_scores(model, encoder(raw)), encoder.raw_specs())
    return Traced(
        scored,
        function(lambda inputs: scored(parse_examples(encoder, inputs)), tf.TensorSpec([None], tf.string)),
        function(lambda raw: candidate_scores(model, raw), candidate_specs(encoder)),
    )


def _name_tensors(path: Path, columns: Sequence[str], orders: Mapping[str, Sequence[str]]) -> None:
    """Names the signatures' tensors in a SavedModel's file: inputs, which are named as the arguments are, as the
    columns; outputs by their positions, such as the targets' in the funnel, which a map of outputs does not keep.
    """
    renamed = {argument_name(column): column for column in columns if argument_name(column) != column}
    document = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for graph in document.meta_graphs:
        for name, signature in graph.signature_def.items():
            for argument, column in renamed.items():
                if argument in signature.inputs:
                    signature.inputs[column].CopyFrom(signature.inputs[argument])
                    del signature.inputs[argument]
            for position, output in enumerate(orders.get(name, ())):
                score, tensor = signature.outputs[output], target_tensor(name, position)
                node = graph.graph_def.node.add(name=tensor.removesuffix(":0"), op="Identity", input=[score.name])
                node.attr["T"].type = score.dtype
                score.name = tensor
    path.write_bytes(document.SerializeToString(deterministic=True))
