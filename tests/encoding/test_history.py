"""History statistics against sums by hand: a row's own label never counts, everything else does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import htlnet_tf as htl
from htlnet_tf.data import open_stream
from htlnet_tf.encoding.dataset import make_dataset
from htlnet_tf.encoding.encoded import encode_frame, encode_rows
from htlnet_tf.encoding.kinds.numeric import CLIP
from htlnet_tf.errors import InputError
from tests.data.test_stream import write_parts

ROWS = 240
SMOOTHING = 7.0
FEATURES = (
    htl.Categorical("item", min_count=2),
    htl.Categorical("tags", separator="|", max_length=3),
    htl.Categorical("shop"),
    htl.Cross("pair", of=("item", "shop"), num_buckets=4096),
    htl.Numeric("price"),
)
TARGETS = (
    htl.Binary("click"),
    htl.Multiclass("stars", num_classes=3),
    htl.Continuous("spend", observed_if="click", sample_weight="value"),
)


def schema(*statistics: Any, **changes: Any) -> htl.Schema:
    return htl.Schema(
        features=(*FEATURES, *statistics), targets=TARGETS, timestamp="time", sample_weight="weight", **changes
    )


def rows(count: int = ROWS, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "item": random.choice([*"abcdef"], count).astype(object),
            "tags": ["|".join(random.choice([*"xyz"], i % 4, replace=False)) for i in range(count)],
            "shop": random.choice(["s", "t"], count),
            "price": random.random(count),
            "time": random.integers(0, 50, count),
            "click": random.integers(0, 2, count).astype(float),
            "stars": random.integers(0, 3, count),
            "weight": random.choice([0.0, 0.5, 1.0, 3.0], count),
            "value": random.choice([1.0, 2.0], count),
        }
    )
    frame["spend"] = np.where(frame.click == 1, random.exponential(10.0, count), 0.0)
    frame.loc[3, "item"] = "once"  # below min_count
    frame.loc[7, "item"] = None
    frame.loc[11, "click"] = np.nan
    return frame


VALUES: dict[str, Callable[[Any], list[Any]]] = {
    "item": lambda row: [row.item if row.item in [*"abcdef"] else None],
    "tags": lambda row: row.tags.split("|") if row.tags else [],
    "pair": lambda row: [(row.item, row.shop) if row.item is not None else None],
}
"""What a row's values of a feature are; None: missing or out of vocabulary. A cross has no vocabulary; it is missing
where a part is."""


def numbers(frame: pd.DataFrame, feature: htl.TargetEncoding) -> tuple[np.ndarray, np.ndarray]:
    """Weights [N] and labels [N, K] of a target, by hand."""
    weight = frame.weight.to_numpy(float)
    clicked = frame.click.notna().to_numpy()
    if feature.target == "click":
        return weight * clicked, frame.click.fillna(0).to_numpy()[:, None]
    if feature.target == "stars":
        return weight, np.eye(3)[frame.stars]
    weight = weight * frame.value.to_numpy() * (frame.click == 1)
    spend = frame.spend.to_numpy()
    if feature.scale == "log":
        logs = np.log(spend[frame.click == 1])
        spend = np.log1p(spend / np.exp(logs.mean() - 2 * logs.std()))
    return weight, spend[:, None]


def blocks(frame: pd.DataFrame, feature: htl.TargetEncoding) -> np.ndarray:
    if feature.scheme == "ordered":
        return frame.time.to_numpy()
    file = np.frombuffer(hashlib.blake2b(b"", digest_size=8).digest(), "<u8")
    return ((pd.util.hash_pandas_object(frame.index).to_numpy() ^ file) % feature.folds).astype(int)


def by_hand(frame: pd.DataFrame, feature: htl.TargetEncoding, *, training: bool) -> np.ndarray:
    """The statistic of each row before it is standardised, float64 [N, K]; quadratic in the rows."""
    weights, labels = numbers(frame, feature)
    block = blocks(frame, feature)
    values = [VALUES[feature.of](row) for row in frame.itertuples()]
    prior = weights @ labels / weights.sum()
    made = []
    for i in range(len(frame)):
        seen = np.ones(len(frame), bool)
        if training:
            seen = block < block[i] if feature.scheme == "ordered" else block != block[i]
        means = []
        for value in values[i]:
            often = np.array([0 if value is None else there.count(value) for there in values]) * seen
            w = weights * often
            means.append((w @ labels + feature.smoothing * prior) / (w.sum() + feature.smoothing))
        made.append(np.mean(means, axis=0) if means else np.full(labels.shape[1], np.nan))
    return np.stack(made)


def raw(encoder: htl.FeatureEncoder, numeric: np.ndarray, name: str) -> np.ndarray:
    """Before it is standardised."""
    learned = encoder.kinds[name].learned
    return numeric[:, encoder.value_columns[name]] * np.array(learned.std) + np.array(learned.mean)


STATISTICS = [
    htl.TargetEncoding(of="item", target="click", smoothing=SMOOTHING),
    htl.TargetEncoding(of="item", target="stars", smoothing=SMOOTHING, folds=3),
    htl.TargetEncoding(of="item", target="spend", smoothing=SMOOTHING),
    htl.TargetEncoding(of="item", target="spend", smoothing=SMOOTHING, scale="log", scheme="ordered"),
    htl.TargetEncoding(of="tags", target="click", smoothing=SMOOTHING, scheme="ordered"),
    htl.TargetEncoding(of="tags", target="spend", smoothing=SMOOTHING, scale="log"),
    htl.TargetEncoding(of="pair", target="click", smoothing=SMOOTHING),
    htl.TargetEncoding(of="pair", target="stars", smoothing=SMOOTHING, scheme="ordered"),
]


@pytest.fixture(scope="module")
def fitted() -> htl.FeatureEncoder:
    return htl.FeatureEncoder.fit(
        schema(*STATISTICS, htl.CountEncoding(of="item"), htl.CountEncoding(of="tags")), rows()
    )


@pytest.mark.parametrize("feature", STATISTICS, ids=lambda f: f"{f.name}-{f.scheme}")
@pytest.mark.parametrize("training", [True, False])
def test_target_encoding_is_the_smoothed_mean(
    fitted: htl.FeatureEncoder, feature: htl.TargetEncoding, training: bool
) -> None:
    frame = rows()
    numeric = encode_frame(frame, fitted, training=training).features["numeric"]
    expected = by_hand(frame, feature, training=training)
    found = raw(fitted, numeric, feature.name)
    there = ~np.isnan(expected)
    # None is clipped here.
    assert np.abs(numeric[:, fitted.value_columns[feature.name]]).max() < CLIP
    np.testing.assert_allclose(found[there], expected[there], rtol=2e-5, atol=1e-6)


def test_counts_do_not_count_the_row_itself(fitted: htl.FeatureEncoder) -> None:
    frame = rows()
    for training in (False, True):
        numeric = encode_frame(frame, fitted, training=training).features["numeric"]
        for name, of in (("item.count", "item"), ("tags.count", "tags")):
            values = [VALUES[of](row) for row in frame.itertuples()]
            expected = []
            for i, own in enumerate(values):
                counts = [
                    0.0
                    if value is None
                    else sum(w for j, w in enumerate(frame.weight) if value in values[j] and not (training and i == j))
                    for value in own
                ]
                expected.append(np.mean(np.log1p(counts)) if counts else np.nan)
            there = ~np.isnan(expected) & (numeric[:, fitted.value_columns[name]] > -CLIP).ravel()
            assert there.sum() > 150
            np.testing.assert_allclose(raw(fitted, numeric, name)[there, 0], np.array(expected)[there], atol=1e-5)


def test_unseen_and_missing_values_have_the_prior(fitted: htl.FeatureEncoder) -> None:
    frame = rows()
    new = frame.head(3).assign(item=["new", None, "once"])
    numeric = encode_frame(new, fitted).features["numeric"]
    clicks = frame.click.notna()
    prior = np.average(frame.click[clicks], weights=frame.weight[clicks])
    np.testing.assert_allclose(raw(fitted, numeric, "item.click")[:, 0], prior, rtol=1e-5)
    counts = fitted.kinds["item.count"].learned
    expected = max(-counts.mean[0] / counts.std[0], -CLIP)
    np.testing.assert_allclose(numeric[:, fitted.value_columns["item.count"]], expected, rtol=1e-5)


@pytest.mark.parametrize("tags", ["", None, "new", "new|newer"])
def test_no_known_value_among_several_is_the_prior(fitted: htl.FeatureEncoder, tags: Any) -> None:
    numeric = encode_frame(rows().head(1).assign(tags=tags), fitted).features["numeric"]
    prior = fitted.kinds["tags.click"].learned.priors[0]
    np.testing.assert_allclose(raw(fitted, numeric, "tags.click")[0, 0], prior, rtol=1e-5)


@pytest.mark.parametrize("scheme", ["folds", "ordered"])
@given(seed=st.integers(0, 10_000), row=st.integers(0, 59))
@settings(max_examples=15)
def test_no_row_sees_its_own_label(scheme: Any, seed: int, row: int) -> None:
    """Nearly without smoothing, for the prior is of all rows; it is left only where no other row counts."""
    names = ["item.click", "item.spend"]
    made = schema(statistics=htl.HistoryStatistics(of=("item",), scheme=scheme, smoothing=1e-6, log=False))
    frame = rows(60, seed).assign(weight=1.0)
    frame["click"] = frame.click.fillna(0.0)
    other = frame.copy()
    other.loc[row, ["click", "spend"]] = [1.0 - frame.click[row], 12.5 if frame.click[row] == 0 else 0.0]
    found = []
    for table in (frame, other):
        encoder = htl.FeatureEncoder.fit(made, table)
        numeric = encode_frame(table, encoder, training=True).features["numeric"]
        priors = {name: encoder.kinds[name].learned.priors[0] for name in names}
        clipped = {name: abs(numeric[row, encoder.value_columns[name]][0]) == CLIP for name in names}
        found.append({name: (raw(encoder, numeric, name)[row, 0], priors[name], clipped[name]) for name in names})
    for name in names:
        (one, prior, far), (two, changed, further) = found[0][name], found[1][name]
        alone = one == pytest.approx(prior, rel=1e-4) and two == pytest.approx(changed, rel=1e-4)
        assert far or further or alone or one == pytest.approx(two, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("scheme", ["folds", "ordered"])
def test_labels_of_pure_noise_are_not_learned(scheme: Any) -> None:
    """A model that trusts the statistic alone, which separates the training rows if they see their own label."""
    random = np.random.default_rng(0)
    count = 12_000
    frame = pd.DataFrame(
        {
            "item": random.integers(0, 4_000, count),
            "time": np.arange(count),
            "click": random.integers(0, 2, count),
            "spend": random.random(count),
        }
    )
    train, valid = frame[:10_000], frame[10_000:]
    encoder = htl.FeatureEncoder.fit(
        htl.Schema(
            features=[
                htl.Categorical("item"),
                htl.TargetEncoding(of="item", target="click", smoothing=2.0, scheme=scheme),
                htl.CountEncoding(of="item"),
            ],
            targets=[htl.Binary("click"), htl.Continuous("spend")],
            timestamp="time",
        ),
        train,
    )
    column = encoder.value_columns["item.click"]

    def auc(rows: pd.DataFrame, *, training: bool) -> float:
        features = encode_frame(rows, encoder, training=training).features
        return float(roc_auc_score(rows.click, features["numeric"][:, column].ravel()))

    assert auc(train, training=False) > 0.7  # what a row's own label would do
    assert auc(train, training=True) < 0.52  # below 0.5 with folds: the others of a value lack what the row has
    assert abs(auc(valid, training=False) - 0.5) < 0.03  # three standard errors of 2,000 rows are 0.039


def test_a_model_learns_nothing_from_noise() -> None:
    frame = rows(2_000, seed=5).assign(weight=1.0, value=1.0)
    random = np.random.default_rng(1)
    frame["item"] = random.integers(0, 700, 2_000).astype(str)
    frame["click"] = random.integers(0, 2, 2_000).astype(float)
    train, valid = frame[:1_600], frame[1_600:]
    made = schema(statistics=htl.HistoryStatistics(of=("item",), smoothing=2.0))
    tf.keras.utils.set_random_seed(0)
    encoder = htl.FeatureEncoder.fit(made, train)
    model = htl.SharedBottom(made, encoder, embedding_dim=2, tower_units=(8,))
    model.compile(optimizer=htl.LazyAdam(5e-3))
    model.fit(make_dataset(train, made, encoder, shuffle=True, batch_size=200, seed=0), epochs=4, verbose=0)
    scores = htl.predict(model, valid)
    assert abs(roc_auc_score(valid.click, scores["click"]) - 0.5) < 0.09  # three standard errors of 400 rows


@pytest.mark.parametrize("scheme", ["folds", "ordered"])
def test_streams_are_as_frames(tmp_path: Path, scheme: Any) -> None:
    made = schema(statistics=htl.HistoryStatistics(of=("item", "tags", "pair"), scheme=scheme))
    frame = rows()
    whole = htl.FeatureEncoder.fit(made, frame)
    stream = open_stream(write_parts(tmp_path / "rows", frame, parts=4), made)
    encoder = htl.FeatureEncoder.fit(made, stream)
    columns = [encoder.value_columns[f.name] for f in made.history]
    one, two = encode_frame(frame, whole).features["numeric"], encode_frame(frame, encoder).features["numeric"]
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    left = encode_rows(stream, encoder, training=True).features["numeric"]
    assert all(np.abs(left[:, column] - two[:, column]).max() > 1e-3 for column in columns)
    if scheme == "ordered":  # folds differ: they are drawn by file and row
        expected = encode_frame(frame, whole, training=True).features["numeric"]
        np.testing.assert_allclose(left, expected, rtol=1e-4, atol=1e-5)
    batches = make_dataset(stream, made, encoder, batch_size=50, shuffle=False, training=True)
    streamed = np.concatenate([features["numeric"].numpy() for features, *_ in batches])
    np.testing.assert_array_equal(streamed, left)


def test_what_is_read_once_is_refused() -> None:
    made = schema(statistics=htl.HistoryStatistics(of=("item",)))

    def frames() -> Iterator[pd.DataFrame]:
        yield rows()

    with pytest.raises(InputError, match="more than once"):
        htl.FeatureEncoder.fit(made, frames())


@pytest.mark.parametrize("scheme", ["folds", "ordered"])
def test_other_rows_are_no_training_rows(scheme: Any) -> None:
    made = schema(statistics=htl.HistoryStatistics(of=("item",), scheme=scheme))
    train = rows().assign(item="a", time=np.arange(ROWS))
    train.loc[:20, "item"] = "b"
    encoder = htl.FeatureEncoder.fit(made, train)
    shuffled = train.sample(frac=1.0, random_state=0)
    encode_frame(shuffled.head(100), encoder, training=True)
    for strange in (
        shuffled.reset_index(drop=True),
        train.tail(30).assign(click=1.0 - train.click),
        train.set_index(train.index + 1000),
    ):
        with pytest.raises(InputError, match=r"with index \d+ is none of the rows .* training=False"):
            encode_frame(strange, encoder, training=True)
        encode_frame(strange, encoder)


def test_an_index_that_says_something_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    made = schema(statistics=htl.HistoryStatistics(of=("item",)))
    with caplog.at_level("WARNING", logger="absl"):
        htl.FeatureEncoder.fit(made, rows().set_index("shop", drop=False))
    assert "240 rows share 2 values of the index" in caplog.text


def test_equal_statistics_are_equal(fitted: htl.FeatureEncoder, tmp_path: Path) -> None:
    fitted.save(tmp_path / "encoder.json")
    one, two = (htl.FeatureEncoder.load(tmp_path / "encoder.json").statistics for _ in range(2))
    assert one == two
    other = htl.FeatureEncoder.fit(fitted.schema, rows(seed=3)).statistics
    assert one != other


def test_an_encoder_that_was_read_serves_and_trains_no_more(fitted: htl.FeatureEncoder, tmp_path: Path) -> None:
    frame = rows()
    fitted.save(tmp_path / "encoder.json")
    loaded = htl.FeatureEncoder.load(tmp_path / "encoder.json")
    one, two = (encode_frame(frame, encoder).features["numeric"] for encoder in (fitted, loaded))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(InputError, match="fitted on them"):
        encode_frame(frame, loaded, training=True)


def test_damaged_numbers_are_named(fitted: htl.FeatureEncoder, tmp_path: Path) -> None:
    path = tmp_path / "encoder.json"
    fitted.save(path)
    text = path.read_text(encoding="utf-8")
    start = text.index('"weights": "') + len('"weights": "')
    path.write_text(text[:start] + "!!" + text[start + 2 :], encoding="utf-8")
    with pytest.raises(InputError, match=r"encoder\.json.*numbers are damaged"):
        htl.FeatureEncoder.load(path)


def test_rows_of_a_table_are_the_same_by_graph_and_by_frame(fitted: htl.FeatureEncoder) -> None:
    from htlnet_tf.data.raw_features import raw_features

    frame = rows().head(20)
    encoded = fitted({name: tf.constant(x) for name, x in raw_features(frame, fitted.schema).items()})
    np.testing.assert_allclose(encoded["numeric"], fitted.encode(frame)["numeric"], rtol=1e-6, atol=1e-6)


def test_statistics_of_constant_labels_are_zero() -> None:
    frame = rows().assign(click=1.0)
    made = schema(htl.TargetEncoding(of="item", target="click"))
    encoder = htl.FeatureEncoder.fit(made, frame)
    for training in (False, True):
        numeric = encode_frame(frame, encoder, training=training).features["numeric"]
        np.testing.assert_allclose(numeric[:, encoder.value_columns["item.click"]], 0.0, atol=1e-5)


def test_a_missing_time_is_named() -> None:
    frame = rows().assign(time=lambda table: table.time.astype(float))
    frame.loc[5, "time"] = np.nan
    made = dataclasses.replace(schema(), statistics=htl.HistoryStatistics(of=("item",), scheme="ordered"))
    with pytest.raises(InputError, match=r"column 'time'.*row 5"):
        htl.FeatureEncoder.fit(made, frame)
