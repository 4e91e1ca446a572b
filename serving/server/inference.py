"""Serialized tf.Example through a signature to classes or to one value each, with TF Serving's checks and messages.

Source: TF Serving, servables/tensorflow/classifier.cc and regressor.cc. As there without
`--enable_signature_method_name_check`, a signature is judged by its inputs and outputs and not by its method name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from htlnet_tf.serving.errors import StatusError, invalid_argument
from htlnet_tf.serving.server.servables import LoadedVersion
from htlnet_tf.serving.signatures import DEFAULT_SIGNATURE, Signature

# Method names of signatures, saved_model/signature_constants.h.
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

# TensorFlow, cc/saved_model/signature_constants.h.
_INPUTS = "inputs"
_CLASSES = "classes"
_SCORES = "scores"
_OUTPUTS = "outputs"


@dataclass(frozen=True)
class Classifications:
    """The classes of N examples.

    Args:
      labels: Object array of bytes `[N, K]`; None if the signature gives none.
      scores: float32 `[N, K]`; None if the signature gives none.
    """

    labels: np.ndarray | None
    scores: np.ndarray | None

    def rows(self) -> list[list[tuple[bytes, float]]]:
        """The classes as TF Serving tells them.

        Returns:
          Label and score of each class of each example; an empty label or 0.0 where the signature gives none.
        """
        given = self.scores if self.labels is None else self.labels
        if given is None:
            return []
        labels = np.full(given.shape, b"", object) if self.labels is None else self.labels
        scores = np.zeros(given.shape, np.float32) if self.scores is None else self.scores
        return [list(zip(*row, strict=True)) for row in zip(labels, scores.astype(object), strict=True)]


def classify(servable: LoadedVersion, name: str, examples: np.ndarray) -> Classifications:
    """Runs a classification.

    Args:
      servable: The servable.
      name: Signature name; "" is `serving_default`.
      examples: Object array `[N]` of serialized tf.Example.

    Returns:
      The classes.

    Raises:
      StatusError: INVALID_ARGUMENT, if the signature is not one for this; with TensorFlow's code and message, if the
        graph fails.
    """
    key, signature = _signature(servable, name)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {servable.definitions[key]}")
    if not signature.outputs.keys() & {_CLASSES, _SCORES}:
        raise invalid_argument(
            f'Expected classification signature outputs to contain at least one of "{_CLASSES}" or "{_SCORES}". '
            f"Signature was: {servable.definitions[key]}"
        )
    values = servable.run(key, {_INPUTS: examples})
    labels = values.get(_CLASSES)
    scores = values.get(_SCORES)
    for alias, output, wanted in ((_CLASSES, labels, "DT_STRING"), (_SCORES, scores, "DT_FLOAT")):
        if output is None:
            continue
        if output.ndim != 2:
            raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(output)}")
        if signature.outputs[alias].dtype != wanted:
            raise invalid_argument(f"Expected {alias} Tensor of {wanted}. Got: {signature.outputs[alias].dtype}")
        if len(output) != len(examples):
            raise invalid_argument(f"Expected {alias} output batch size of {len(examples)}. Got: {len(output)}")
    if labels is not None and scores is not None and labels.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classifications(labels, scores)


def regress(servable: LoadedVersion, name: str, examples: np.ndarray) -> np.ndarray:
    """Runs a regression.

    Args:
      servable: The servable.
      name: Signature name; "" is `serving_default`.
      examples: Object array `[N]` of serialized tf.Example.

    Returns:
      float32 `[N]`.

    Raises:
      StatusError: As in `classify`.
    """
    key, signature = _signature(servable, name)
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {servable.definitions[key]}")
    if _OUTPUTS not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {servable.definitions[key]}")
    output = servable.run(key, {_INPUTS: examples})[_OUTPUTS]
    if not (output.ndim == 1 or (output.ndim == 2 and output.shape[1] == 1)):
        raise invalid_argument(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {_shape(output)}"
        )
    if len(output) != len(examples):
        raise invalid_argument(f"Input batch size did not match output batch size: {len(examples)} vs. {len(output)}")
    if signature.outputs[_OUTPUTS].dtype != "DT_FLOAT":
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {signature.outputs[_OUTPUTS].dtype}")
    return output.reshape(-1)


def _signature(servable: LoadedVersion, name: str) -> tuple[str, Signature]:
    key = name or DEFAULT_SIGNATURE
    if key not in servable.signatures:
        raise StatusError("INVALID_ARGUMENT", f"No signature was found with the name: {key}")
    return key, servable.signatures[key]


def _shape(array: np.ndarray) -> str:
    return f"[{','.join(map(str, array.shape))}]"
