"""Counting the training rows; expected numbers by hand or from NumPy in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.encoding.statistics import TrainingStatistics
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Binary, Categorical, Continuous, Numeric, Schema, Timestamp

SCHEMA = Schema(
    features=[Categorical("c", missing_values=[9]), Categorical("tag", separator=","), Numeric("x", log1p=True)],
    targets=[Binary("click"), Continuous("spend")],
)
FRAME = pd.DataFrame(
    {
        "c": [3, 3, 5, 5, 5, 7, 9],
        "tag": ["a, b", "a", "b,a,z", "", None, "a,,b", "q"],
        "x": [0.0, 1.0, 2.0, np.nan, 4.0, 5.0, 6.0],
        "click": [0, 1] * 3 + [0],
        "spend": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    }
)


def test_vocabulary_by_hand() -> None:
    statistics = TrainingStatistics.fit(SCHEMA, FRAME)
    c, tag = statistics.learned["c"], statistics.learned["tag"]
    assert c.values == (5, 3)  # by count; 7 is seen once, 9 stands for missing
    assert c.has_missing
    assert tag.values == ("a", "b")  # 4 and 3 times; z and q once
    assert tag.has_missing
    assert tag.slots == 3
    assert [f.dtype for f in statistics.schema.categoricals] == ["int64", "string"]


def test_moments_match_numpy() -> None:
    statistics = TrainingStatistics.fit(SCHEMA, FRAME)
    x = np.log1p(FRAME["x"].dropna().to_numpy())
    assert statistics.learned["x"].mean == pytest.approx(x.mean(), rel=1e-12)
    assert statistics.learned["x"].std == pytest.approx(x.std(), rel=1e-12)
    assert statistics.learned["x"].has_missing
    assert statistics.labels["spend"].mean == pytest.approx(3.0)
    assert statistics.labels["spend"].std == pytest.approx(2.0)
    assert statistics.num_rows == 7


def test_a_stream_of_frames_gives_the_same_as_one_frame() -> None:
    parts = (FRAME.iloc[i : i + 2] for i in range(0, len(FRAME), 2))
    streamed, whole = TrainingStatistics.fit(SCHEMA, parts), TrainingStatistics.fit(SCHEMA, FRAME)
    assert all(streamed.learned[name] == whole.learned[name] for name in ("c", "tag"))
    assert streamed.learned["x"].std == pytest.approx(whole.learned["x"].std, rel=1e-12)
    assert streamed.labels["spend"].mean == pytest.approx(whole.labels["spend"].mean, rel=1e-12)


def test_a_large_offset_does_not_cost_precision() -> None:
    frame = FRAME.assign(spend=1e9 + FRAME["spend"])
    assert TrainingStatistics.fit(SCHEMA, frame).labels["spend"].std == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("unit", [1e-37, 1e-30, 1e-13, 1e30, 1e37])
def test_a_unit_changes_nothing_but_the_unit(unit: float) -> None:
    schema = Schema(features=[Categorical("c"), Numeric("x")], targets=SCHEMA.targets)
    scaled = FRAME.assign(x=FRAME["x"] * unit, spend=FRAME["spend"] * unit)
    statistics = TrainingStatistics.fit(schema, (scaled.iloc[i : i + 3] for i in range(0, len(scaled), 3)))
    x = FRAME["x"].dropna()
    assert statistics.learned["x"].mean == pytest.approx(x.mean() * unit, rel=1e-12)
    assert statistics.learned["x"].std == pytest.approx(x.std(ddof=0) * unit, rel=1e-12)
    assert statistics.labels["spend"].std == pytest.approx(2.0 * unit, rel=1e-12)


def test_what_float32_takes_for_0_is_counted_as_0() -> None:
    schema = Schema(features=[Categorical("c"), Numeric("x")], targets=SCHEMA.targets)
    statistics = TrainingStatistics.fit(schema, FRAME.assign(x=FRAME["x"] * 1e-60, spend=FRAME["spend"] * 1e-45))
    assert (statistics.learned["x"].mean, statistics.learned["x"].std) == (0.0, 1.0)
    assert (statistics.labels["spend"].mean, statistics.labels["spend"].std) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.1, 1e-30, 3e33])
def test_rounding_is_no_spread(value: float) -> None:
    schema = Schema(features=[Categorical("c"), Numeric("x")], targets=SCHEMA.targets)
    assert TrainingStatistics.fit(schema, FRAME.assign(x=value)).learned["x"].std == 1.0


def test_a_constant_column_has_std_1() -> None:
    assert TrainingStatistics.fit(SCHEMA, FRAME.assign(x=0.1)).learned["x"].std == 1.0


def test_save_and_load(tmp_path: Path) -> None:
    statistics = TrainingStatistics.fit(SCHEMA, FRAME.assign(tag=["é☃", "é☃", '"', '"', "\n", "\n", "a"]))
    statistics.save(tmp_path / "s.json")
    assert TrainingStatistics.load(tmp_path / "s.json") == statistics


@pytest.mark.parametrize("content", ["", "{", '{"num_rows": 1}', "[]"])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"s\.json"):
        TrainingStatistics.load(path)
    with pytest.raises(InputError, match="cannot read"):
        TrainingStatistics.load(tmp_path / "none.json")


def test_nothing_to_fit_on() -> None:
    with pytest.raises(InputError, match="no rows"):
        TrainingStatistics.fit(SCHEMA, FRAME[:0])
    with pytest.raises(InputError, match="there are none"):
        TrainingStatistics.fit(SCHEMA, iter([]))


def test_only_the_graphs_white_space_is_stripped() -> None:
    frame = FRAME.assign(tag=["\u00a0a", "\u00a0a", " b\t", "b", "\u3000", "\u3000", "b"])
    encoder = htl.FeatureEncoder.fit(SCHEMA, frame)
    assert set(encoder.statistics.learned["tag"].values) == {"\u00a0a", "b", "\u3000"}
    ids = encoder.encode(frame)["ids"][:, 1]
    unknown = encoder.encode(frame.assign(tag="never"))["ids"][0, 1]
    assert unknown not in ids


def test_missing_values_of_another_type_are_named() -> None:
    schema = SCHEMA.with_features([Categorical("c", missing_values=["none"]), *SCHEMA.features[1:]])
    with pytest.raises(InputError, match="column 'c' holds int64 values"):
        TrainingStatistics.fit(schema, FRAME)


def test_numbers_and_their_texts_are_counted_together() -> None:
    frame = pd.DataFrame(
        {"c": pd.Series([1, 1, "1", "x"], dtype=object), "click": [0, 1, 0, 1], "spend": [0.0, 1, 2, 3]}
    )
    schema = Schema(features=[Categorical("c", min_count=3)], targets=[Binary("click"), Continuous("spend")])
    assert TrainingStatistics.fit(schema, frame).learned["c"].values == ("1",)


def test_values_beyond_the_bound_are_hashed_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htlnet_tf.encoding.counting.MAX_DISTINCT", 5)
    monkeypatch.setattr("htlnet_tf.encoding.kinds.categorical.MAX_DISTINCT", 5)
    frame = pd.DataFrame({"c": range(8), "click": [0, 1] * 4, "spend": [1.0] * 8})
    schema = Schema(features=[Categorical("c")], targets=[Binary("click"), Continuous("spend")])
    (feature,) = TrainingStatistics.fit(schema, frame).schema.categoricals
    assert (feature.encoding, feature.num_buckets) == ("hash", 8)


def test_an_unreadable_time_is_told_when_fitting() -> None:
    frame = pd.DataFrame({"c": [1, 1], "t": ["2024-03-01", "soon"], "click": [0, 1], "spend": [1.0, 2.0]})
    schema = Schema(features=[Categorical("c"), Timestamp("t")], targets=[Binary("click"), Continuous("spend")])
    with pytest.raises(InputError, match=r"column 't', row 1 .*received 'soon'"):
        TrainingStatistics.fit(schema, frame)
