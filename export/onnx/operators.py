"""Operations of TensorFlow that tf2onnx has no ONNX for, or another one: each made of ONNX's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import TensorProto

# Source: P. J. Acklam, "An algorithm for computing the inverse normal cumulative distribution function", 2003; relative
# error below 1.2e-9. Rational functions about 0.5, and of the tails below 0.02425.
_NDTRI_NUMERATOR = (-39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716)
_NDTRI_NUMERATOR_LAST = 2.506628277459239
_NDTRI_DENOMINATOR = (-54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572)
_TAIL_NUMERATOR = (-0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734)
_TAIL_NUMERATOR_LAST = (4.374664141464968, 2.938163982698783)
_TAIL_DENOMINATOR = (0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416)
_TAIL = 0.02425


class Builder:
    """Puts ONNX's operators where a node of TensorFlow was.

    Args:
      graph: Of tf2onnx.
      node: The node, which the last operator takes the place of.
    """

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph, self.node = graph, node
        self.inputs: Sequence[str] = list(node.input)

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant."""
        from tf2onnx.utils import make_name

        return str(self.graph.make_const(make_name("constant"), np.asarray(value, dtype)).output[0])

    def double(self, value: float) -> str:
        """The name of a constant of float64."""
        return self.constant(value, np.float64)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of an operator's output."""
        return str(self.graph.make_node(operator, list(inputs), attr=attributes).output[0])

    def end(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """The operator whose output is the node's."""
        node, graph = self.node, self.graph
        shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
        graph.remove_node(node.name)
        graph.make_node(
            operator, list(inputs), attr=attributes, name=node.name, outputs=outputs, shapes=shapes, dtypes=dtypes
        )


def _expm1(b: Builder) -> None:
    b.end("Sub", b.add("Exp", b.inputs[0]), b.constant(1.0))


def _log1p(b: Builder) -> None:
    b.end("Log", b.add("Add", b.inputs[0], b.constant(1.0)))


def _xlogy(b: Builder) -> None:
    x, y = b.inputs
    zero = b.constant(0.0)
    b.end("Where", b.add("Equal", x, zero), zero, b.add("Mul", x, b.add("Log", y)))


def _erfc(b: Builder) -> None:
    b.end("Sub", b.constant(1.0), b.add("Erf", b.inputs[0]))


def _is_finite(b: Builder) -> None:
    infinite = b.add("Or", b.add("IsInf", b.inputs[0]), b.add("IsNaN", b.inputs[0]))
    b.end("Not", infinite)


def _floor_mod(b: Builder) -> None:
    # tf2onnx truncates whole numbers towards 0: times before 1970 would have negative hours.
    if _is_whole(b):
        b.end("Mod", *b.inputs)
        return
    floor = b.add("Floor", b.add("Div", *b.inputs))
    b.end("Sub", b.inputs[0], b.add("Mul", floor, b.inputs[1]))


def _floor_div(b: Builder) -> None:
    if _is_whole(b):
        b.end("Div", b.add("Sub", b.inputs[0], b.add("Mod", *b.inputs)), b.inputs[1])
        return
    b.end("Floor", b.add("Div", *b.inputs))


def _is_whole(b: Builder) -> bool:
    return b.graph.get_dtype(b.inputs[0]) in (TensorProto.INT32, TensorProto.INT64)


def _select(b: Builder) -> None:
    # tf2onnx makes a sum of products of it, in which a NaN that is not selected stays one.
    b.end("Where", *b.inputs)


def _bucketize(b: Builder) -> None:
    bounds = b.constant(list(b.node.get_attr("boundaries").floats))
    column = b.add("Unsqueeze", b.inputs[0], b.constant([-1], np.int64))
    _count(b, b.add("GreaterOrEqual", column, bounds), TensorProto.INT32)


def _bound(comparison: str) -> Callable[[Builder], None]:
    """`tf.searchsorted`: how many of the sorted values, [B, V], are before each of [B, N]."""

    def build(b: Builder) -> None:
        values = b.add("Unsqueeze", b.inputs[1], b.constant([2], np.int64))
        in_order = b.add("Unsqueeze", b.inputs[0], b.constant([1], np.int64))
        wanted = b.node.get_attr_value("out_type", TensorProto.INT32)
        _count(b, b.add(comparison, values, in_order), wanted)

    return build


def _count(b: Builder, condition: str, dtype: int) -> None:
    counted = b.add("Cast", condition, to=dtype)
    b.end("ReduceSum", counted, b.constant([-1], np.int64), keepdims=0)


def _ndtri(b: Builder) -> None:
    # In float64: the polynomials' terms cancel one another, which would cost three of float32's digits.
    p = b.add("Cast", b.inputs[0], to=TensorProto.DOUBLE)
    q = b.add("Sub", p, b.double(0.5))
    r = b.add("Mul", q, q)
    numerator = _polynomial(b, r, (*_NDTRI_NUMERATOR, _NDTRI_NUMERATOR_LAST))
    centre = b.add("Div", b.add("Mul", numerator, q), _polynomial(b, r, (*_NDTRI_DENOMINATOR, 1.0)))
    tail = b.add("Min", p, b.add("Sub", b.double(1.0), p))
    distance = b.add("Sqrt", b.add("Mul", b.double(-2.0), b.add("Log", tail)))
    ratio = b.add(
        "Div",
        _polynomial(b, distance, (*_TAIL_NUMERATOR, *_TAIL_NUMERATOR_LAST)),
        _polynomial(b, distance, (*_TAIL_DENOMINATOR, 1.0)),
    )
    outside = b.add("Where", b.add("Less", q, b.double(0.0)), ratio, b.add("Neg", ratio))
    infinite = b.add("Mul", b.add("Sign", q), b.double(np.inf))
    outside = b.add("Where", b.add("LessOrEqual", tail, b.double(0.0)), infinite, outside)
    found = b.add("Where", b.add("Less", tail, b.double(_TAIL)), outside, centre)
    b.end("Cast", found, to=TensorProto.FLOAT)


def _polynomial(b: Builder, x: str, coefficients: Sequence[float]) -> str:
    """By Horner's rule, the highest power first; float64."""
    found = b.double(coefficients[0])
    for coefficient in coefficients[1:]:
        found = b.add("Add", b.add("Mul", found, x), b.double(coefficient))
    return found


_BUILDERS: Mapping[str, Callable[[Builder], None]] = MappingProxyType(
    {
        "Bucketize": _bucketize,
        "Erfc": _erfc,
        "Expm1": _expm1,
        "FloorDiv": _floor_div,
        "FloorMod": _floor_mod,
        "IsFinite": _is_finite,
        "Log1p": _log1p,
        "LowerBound": _bound("Greater"),
        "Ndtri": _ndtri,
        "SelectV2": _select,
        "UpperBound": _bound("GreaterOrEqual"),
        "Xlogy": _xlogy,
    }
)


def handlers() -> dict[str, tuple[Callable[..., None], list[Any]]]:
    """By TensorFlow's operation, what `tf2onnx.convert.from_function` takes as `custom_op_handlers`."""

    def handler(build: Callable[[Builder], None]) -> tuple[Callable[..., None], list[Any]]:
        return lambda graph, node, name, args: build(Builder(graph, node)), []

    return {operation: handler(build) for operation, build in _BUILDERS.items()}
