"""Operations that are made of ONNX's own operators, against NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import scipy.special
import tensorflow as tf

from htlnet_tf.export.onnx.graph import converted

X = np.array([-3.5, -1.0, -0.25, 0.0, 1e-3, 0.4, 1.0, 2.0, 7.5], np.float32)
P = np.array([1e-6, 0.01, 0.02425, 0.3, 0.5, 0.97, 0.99999], np.float32)
WHOLE = np.array([-90_000, -1, 0, 1, 86_399, 86_400], np.int64)
SORTED = np.array([[-1.0, 0.0, 0.0, 1.0, 7.5]], np.float32)


@pytest.mark.parametrize(
    ("operation", "x", "due"),
    [
        (tf.math.expm1, X, np.expm1(X.astype(np.float64))),
        (tf.math.log1p, np.abs(X), np.log1p(np.abs(X.astype(np.float64)))),
        (tf.math.erfc, X, scipy.special.erfc(X.astype(np.float64))),
        (tf.math.ndtri, P, scipy.special.ndtri(P.astype(np.float64))),
        (tf.math.ndtri, np.array([0.0, 1.0], np.float32), np.array([-np.inf, np.inf])),
        (lambda x: tf.math.xlogy(x, x), np.maximum(X, 0), scipy.special.xlogy(np.maximum(X, 0), np.maximum(X, 0))),
        (lambda x: tf.math.floormod(x, 86_400), WHOLE, WHOLE % 86_400),
        (lambda x: x // 3600, WHOLE, WHOLE // 3600),
        (lambda x: tf.math.floormod(x, 2.0), X, X % 2.0),
        (lambda x: x // 2.0, X, X // 2.0),
        (lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 1.0]), X, np.digitize(X, [-1.0, 0.0, 1.0])),
        (lambda x: tf.searchsorted(SORTED[0], x, side="left"), X, np.searchsorted(SORTED[0], X, side="left")),
        (lambda x: tf.searchsorted(SORTED[0], x, side="right"), X, np.searchsorted(SORTED[0], X, side="right")),
        (
            lambda x: tf.where(tf.math.is_finite(x), x, 0.0),
            np.array([np.nan, np.inf, -np.inf, 2.0], np.float32),
            np.array([0.0, 0.0, 0.0, 2.0]),
        ),
    ],
)
def test_an_operation_is_as_in_numpy(operation: Callable[[Any], Any], x: np.ndarray, due: np.ndarray) -> None:
    signature = [tf.TensorSpec([None], x.dtype, name="x")]
    function = tf.function(lambda x: [operation(x)], input_signature=signature, autograph=False)
    proto, inputs, outputs = converted(function.get_concrete_function(), 1)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(outputs, {inputs[0]: x})
    np.testing.assert_allclose(found, due, rtol=2e-6, atol=3e-7)
