"""Where things stand in pictures, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from htlnet_tf.page.charts import Series, line_chart, reliability_chart
from htlnet_tf.page.dot_charts import DotRow, dot_chart
from htlnet_tf.page.numbers import point_text, share_text, size_text
from htlnet_tf.page.scales import Scale, scale_of, short_number
from htlnet_tf.page.sections.learning import thinned

NAN = math.nan


def test_a_scale_by_hand() -> None:
    scale = Scale(0.0, 10.0, 100.0, 200.0)
    assert [scale(value) for value in (0, 5, 10, 99, -1)] == [100, 150, 200, 200, 100]
    assert scale.ticks(5) == [(100, "0"), (120, "2"), (140, "4"), (160, "6"), (180, "8"), (200, "10")]
    decades = Scale(1.0, 1000.0, 0.0, 30.0, is_log=True)
    assert decades(10) == pytest.approx(10)
    assert decades(0) == 0
    assert [label for _, label in decades.ticks()] == ["1", "10", "100", "1k"]
    assert [label for _, label in Scale(1.0, 3.0, 0.0, 1.0).whole_ticks()] == ["1", "2", "3"]


finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(
    st.lists(finite | st.just(NAN) | st.just(0.0), max_size=20),
    st.booleans(),
    st.sampled_from([(), (0.0,), (0.0, 100.0)]),
)
@example([0.0], False, (0.0,))
@example([5e-324], False, (0.0,))
def test_any_values_have_a_scale_with_ticks_on_it(
    values: list[float], may_be_log: bool, include: tuple[float, ...]
) -> None:
    scale = scale_of(values, 0.0, 100.0, may_be_log=may_be_log, include=include)
    assert scale.low < scale.high
    known = [value for value in values if math.isfinite(value)]
    assert all(scale.low <= value <= scale.high for value in known)
    places = [place for place, _ in scale.ticks()]
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert len(places) <= 12
    assert places == sorted(places)


def test_numbers_stay_narrow() -> None:
    assert [short_number(v) for v in (0, 0.02, 1500, 2e6, 1e-7)] == ["0", "0.02", "1.5k", "2M", "1e-7"]
    assert [share_text(v) for v in (0, 0.0001, 0.5)] == ["0.0\u00a0%", "< 0.05\u00a0%", "50.0\u00a0%"]
    assert size_text(2_500_000) == "2.5 MB"
    assert point_text("2024-01-02") == ("2024-01-02", "")
    assert point_text(17) == ("17", "")
    assert point_text(1_700_000_000) == ("2023-11-14 22:13 UTC", "1700000000, read as s since 1970")


def test_lines_break_where_there_is_no_value() -> None:
    chart = line_chart("a", [Series("s", [1, 2, 3, 4, 5], [1.0, 2.0, NAN, 4.0, 5.0])], x_label="x")
    assert len(chart.lines) == 2
    left, _, right, bottom = chart.frame
    first = chart.lines[0].points.split()[0].split(",")
    assert float(first[0]) == left
    assert float(first[1]) < bottom
    assert float(chart.lines[1].points.split()[-1].split(",")[0]) == right
    single = line_chart("a", [Series("s", [1], [0.5])], x_label="x")
    assert (len(single.lines), len(single.dots)) == (0, 1)
    assert line_chart("a", [Series("s", [1, 2], [NAN, NAN])], x_label="x").lines == []


def test_a_perfect_model_lies_on_the_diagonal() -> None:
    for values in ([0.1, 0.2, 0.3], [0.001, 0.01, 1.0]):  # linear and logarithmic
        chart = reliability_chart("t", [Series("m", values, values, dots=True)])
        left, top, right, bottom = chart.frame
        for dot in chart.dots:
            assert (dot.x - left) / (right - left) == pytest.approx((bottom - dot.y) / (bottom - top))
    empty = reliability_chart("t", [Series("m", [0.001, 1.0], [0.0, 1.0], dots=True)])
    assert max(dot.y for dot in empty.dots) == empty.frame[3]  # where nothing happened: on the lower edge


def test_models_stand_below_one_another() -> None:
    rows = [
        DotRow("best", 2.0, 0.1, [1.9, 2.1], is_best=True),
        DotRow("none", NAN, NAN, []),
        DotRow("x" * 99, 1.0, NAN, [1.0]),
    ]
    chart = dot_chart("AUC", rows, x_label="AUC")
    assert [label.text for label in chart.labels][:3] == ["best", "none", "undefined"]
    assert len(chart.labels[3].text) < 50
    means = [dot for dot in chart.dots if dot.colour != "muted"]
    assert means[0].x > means[1].x
    assert means[0].y < means[1].y
    assert "best: 2" in chart.says


def test_a_long_series_is_thinned_by_medians() -> None:
    values = np.arange(1.0, 1001.0)
    values[500:] = NAN
    steps, found = thinned(values, 10)
    assert (len(steps), steps[0], found[0]) == (10, 50.5, 50.5)
    assert math.isnan(found[-1])
    assert thinned(values[:5], 10) == ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
