"""Curves in the graph against NumPy's interpolation in float64."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from htlnet_tf.scoring.calibration import Curve


def reference(curve: Curve, values: np.ndarray) -> np.ndarray:
    """The same by `np.interp`, with lines beyond the ends."""
    x, y, v = np.asarray(curve.x), np.asarray(curve.y), np.asarray(values, np.float64)
    inside = np.interp(v, x, y)
    return np.where(
        v < x[0], y[0] + (v - x[0]) * curve.below, np.where(v > x[-1], y[-1] + (v - x[-1]) * curve.above, inside)
    )


def test_lines_between_and_beyond_the_points() -> None:
    # By hand: halfway from (1, 2) to (3, 3) is 2.5; one below the first point at slope 0.5, two above the last at 2.
    curve = Curve((1.0, 3.0), (2.0, 3.0), below=0.5, above=2.0)
    np.testing.assert_allclose(curve(tf.constant([0.0, 1.0, 2.0, 3.0, 5.0])), [1.5, 2.0, 2.5, 3.0, 7.0])


def test_of_logits_it_leads_from_probabilities_to_probabilities() -> None:
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    found = Curve.line(2.0, -1.0, of_logits=True)(tf.constant(p, tf.float32)).numpy()
    logits = 2.0 * np.log(p[1:4] / (1.0 - p[1:4])) - 1.0
    np.testing.assert_allclose(found[1:4], 1.0 / (1.0 + np.exp(-logits)), rtol=1e-5)
    assert 0.0 <= found[0] < 1e-6 and 1.0 - 1e-6 < found[4] <= 1.0


def test_the_shape_is_kept() -> None:
    values = tf.reshape(tf.range(6.0), [2, 3])
    np.testing.assert_allclose(Curve((0.0, 1.0), (0.0, 2.0), above=2.0)(values), 2.0 * values)


points = st.lists(st.tuples(st.floats(-1e3, 1e3, width=32), st.floats(0, 1e3, width=32)), min_size=1, max_size=20)


@given(points, st.lists(st.floats(-2e3, 2e3, width=32), min_size=2, max_size=30))
def test_it_never_falls_and_is_what_numpy_says(steps: list[tuple[float, float]], values: list[float]) -> None:
    x = np.array([a for a, _ in steps])
    curve = Curve.through(x, np.cumsum([b for _, b in steps])[np.argsort(np.argsort(x, kind="stable"))], below=0.5)
    ordered = np.sort(np.array(values, np.float32))
    found = curve(tf.constant(ordered)).numpy()
    assert (np.diff(found) >= 0).all()
    due = reference(curve, ordered)
    # A steep line between points that float32 hardly tells apart has its error from theirs.
    slopes = np.diff(curve.y) / np.diff(np.asarray(curve.x, np.float32).astype(np.float64))
    steepest = max([1.0, *slopes])
    np.testing.assert_allclose(found, due, rtol=1e-5, atol=1e-3 * max(1.0, steepest * 0.2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": (), "y": ()},
        {"x": (1.0, 1.0), "y": (0.0, 1.0)},
        {"x": (0.0, 1.0), "y": (1.0, 0.0)},
        {"x": (0.0,), "y": (np.inf,)},
        {"x": (0.0,), "y": (0.0,), "below": -1.0},
    ],
)
def test_what_is_no_curve_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="curve"):
        Curve.from_dict(wrong)


def test_it_survives_json() -> None:
    curve = Curve((0.0, 1.0), (0.5, 2.0), below=0.1, above=0.2, of_logits=True)
    assert Curve.from_dict(curve.to_dict()) == curve
