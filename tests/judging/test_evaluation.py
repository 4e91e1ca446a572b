"""Every expected value comes from pair counting, a definition written out in NumPy float64, or a sum by hand."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from htlnet_tf.data.sources.tfrecord_writer import write_tfrecord
from htlnet_tf.data.stream import open_stream
from htlnet_tf.errors import InputError
from htlnet_tf.judging.evaluation import Scored, evaluate, evaluate_predictions, score
from htlnet_tf.judging.reports import Report
from htlnet_tf.schema import Binary, Categorical, Continuous, Multiclass, Schema

SCHEMA = Schema(
    features=(Categorical("user_id"),),
    targets=(Binary("click"), Multiclass("stars", num_classes=3), Continuous("spend", unit="EUR")),
)

few = settings(max_examples=40)


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        for category in (RuntimeWarning, UserWarning):  # NumPy's and SciPy's; scikit-learn's and Matplotlib's
            warnings.simplefilter("error", category)
        yield


def tables(**columns: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four rows of labels and predictions; `label_x` and `prediction_x` replace the column x."""
    labels: dict[str, Any] = {"click": [0, 1, 0, 1], "stars": [0, 1, 2, 1], "spend": [0.0, 1.0, 2.0, 5.0]}
    predictions: dict[str, Any] = {
        "click": [0.25, 0.5, 0.5, 0.75],
        "stars_0": [0.5, 0.25, 0.25, 0.5],
        "stars_1": [0.25, 0.5, 0.25, 0.25],
        "stars_2": [0.25, 0.25, 0.5, 0.25],
        "spend": [1.0, 1.0, 3.0, 3.0],
    }
    for name, values in columns.items():
        role, column = name.split("_", 1)
        (labels if role == "label" else predictions)[column] = values
    return pd.DataFrame(labels), pd.DataFrame(predictions)


def report(**columns: Any) -> Report:
    return evaluate_predictions(SCHEMA, *tables(**columns))


def core_report(y: Any, p: Any) -> Report:
    schema = Schema(features=SCHEMA.features, targets=(Binary("c"), Continuous("y", non_negative=False)))
    zeros = np.zeros(len(y))
    return evaluate_predictions(schema, pd.DataFrame({"c": zeros, "y": y}), pd.DataFrame({"c": zeros, "y": p}))


def auc_report(y: Any, p: Any) -> Report:
    schema = Schema(features=SCHEMA.features, targets=(Binary("c"), Continuous("y")))
    zeros = np.zeros(len(y))
    return evaluate_predictions(schema, pd.DataFrame({"c": y, "y": zeros}), pd.DataFrame({"c": p, "y": zeros}))


class TestValues:
    def test_binary(self) -> None:
        r = report()
        # Pairs (positive, negative): .5>.25, .5=.5 (half), .75>.25, .75>.5 -> 3.5 of 4.
        assert r.value("click", "auc") == pytest.approx(3.5 / 4, abs=1e-15)
        assert r.value("click", "logloss") == pytest.approx(-(2 * np.log(0.75) + 2 * np.log(0.5)) / 4, abs=1e-15)
        assert r.value("click", "base_rate") == 0.5
        assert r.value("click", "mean_prediction") == 0.5

    def test_multiclass(self) -> None:
        r = report()
        # Class 0: .5 against .25, .25, .5 -> 2.5/3. Class 1: .5, .25 against .25, .25 -> 3/4. Class 2: 3/3.
        assert r.value("stars", "macro_auc") == pytest.approx((2.5 / 3 + 3 / 4 + 1) / 3, abs=1e-15)
        assert r.value("stars", "logloss") == pytest.approx(-(3 * np.log(0.5) + np.log(0.25)) / 4, abs=1e-15)
        assert r.value("stars", "accuracy") == 0.75

    def test_core(self) -> None:
        r = report()
        # y = 0 1 2 5: mean 2, population variance (4 + 1 + 0 + 9) / 4; errors 1 0 1 -2.
        assert r.value("spend", "rmse") == pytest.approx(np.sqrt(6 / 4), abs=1e-15)
        assert r.value("spend", "mae") == 1.0
        assert r.value("spend", "nrmse") == pytest.approx(np.sqrt(6 / 14), abs=1e-15)
        assert r.value("spend", "nmae") == 0.5
        assert r.value("spend", "mean_label") == 2.0
        assert r.value("spend", "mean_prediction") == 2.0
        # Ranks 1 2 3 4 against 1.5 1.5 3.5 3.5, centred: (1.5 + .5 + .5 + 1.5) / sqrt(5 * 4).
        assert r.value("spend", "spearman") == pytest.approx(4 / np.sqrt(20), abs=1e-15)
        # cov(y, ranks): (2 + 1 + 0 + 3) * 1 = 6 against 2 * 1.5 + 1 * .5 + 0 + 3 * 1.5 = 8.
        assert r.value("spend", "gini") == pytest.approx(6 / 8, abs=1e-15)
        # Six pairs: 0 and 1, 2 and 5 are predicted equal (half), the other four are in order.
        assert r.value("spend", "xauc") == pytest.approx(5 / 6, abs=1e-15)
        # Four groups of a row; tied rows have their mean label: 0.5 and 0.5 against 1, 3.5 and 3.5 against 3; mean 2.
        assert r.value("spend", "decile_error") == pytest.approx(0.5 / 2.0, abs=1e-15)
        assert r.value("spend", "level") == 1.0
        assert r.value("spend", "negative_share") == 0.0
        assert r.value("spend", "nrmse_by_mean") == pytest.approx(r.value("spend", "rmse") / 2.0, abs=1e-15)
        assert [row.metric for row in r.rows if row.target == "spend"][:9] == [
            "nrmse", "nrmse_by_mean", "nmae", "spearman", "gini", "xauc", "decile_error", "level", "negative_share",
        ]  # fmt: skip

    def test_certain_but_wrong_costs_the_clipped_log(self) -> None:
        r = report(prediction_click=[0.0, 0.0, 0.0, 1.0])
        assert r.value("click", "logloss") == pytest.approx(-np.log(np.finfo(np.float64).eps) / 4, rel=1e-12)

    def test_float32_probabilities_give_no_warning(self) -> None:
        p = np.full((4, 3), 1 / 3, np.float32) * np.float32(1.0001)
        r = report(prediction_stars_0=p[:, 0], prediction_stars_1=p[:, 1], prediction_stars_2=p[:, 2])
        assert r.value("stars", "logloss") == pytest.approx(np.log(3), abs=1e-12)

    @pytest.mark.parametrize("dtype", ["bool", "int8", "Int64", "boolean", "float32", "object"])
    def test_label_dtypes(self, dtype: Any) -> None:
        labels, predictions = tables()
        labels["click"] = labels["click"].astype(dtype)
        assert evaluate_predictions(SCHEMA, labels, predictions) == report()


class TestMissingLabels:
    def test_each_target_is_judged_on_its_observed_rows(self) -> None:
        r = report(label_click=[None, 1, 0, 1], label_spend=[np.nan, 1.0, 2.0, np.nan])
        # Pairs (positive, negative) of the last three: .5 = .5 (half), .75 > .5 -> 1.5 of 2.
        assert r.value("click", "auc") == pytest.approx(1.5 / 2, abs=1e-15)
        assert r.value("click", "base_rate") == pytest.approx(2 / 3)
        assert r.value("click", "mean_prediction") == pytest.approx((0.5 + 0.5 + 0.75) / 3)
        # Errors of the middle two: 0 and 1.
        assert r.value("spend", "mae") == 0.5
        assert r.value("spend", "mean_label") == 1.5
        assert r.value("stars", "accuracy") == report().value("stars", "accuracy")
        assert (r.num_rows, r.observed_rows) == (4, {"click": 3, "spend": 2})
        assert r.to_dict()["observed_rows"] == {"click": 3, "spend": 2}
        assert str(r).startswith("4 rows; with an observed label: click 3, spend 2\n")

    @given(st.lists(st.tuples(st.sampled_from([0, 1, None]), st.integers(0, 8)), min_size=1, max_size=12))
    @few
    def test_a_row_without_labels_equals_no_row(self, rows: list[tuple[Any, int]]) -> None:
        schema = Schema(features=SCHEMA.features, targets=(Binary("c"), Continuous("y")))
        clicks, p = [click for click, _ in rows], np.array([n for _, n in rows]) / 8
        kept = np.array([click is not None for click in clicks])
        assume(kept.any())
        labels = pd.DataFrame({"c": clicks, "y": np.where(kept, p**2, np.nan)})
        predictions = pd.DataFrame({"c": p, "y": p})
        ours = evaluate_predictions(schema, labels, predictions)
        theirs = evaluate_predictions(schema, labels[kept], predictions[kept])
        pd.testing.assert_frame_equal(ours.to_frame(), theirs.to_frame())

    def test_observed_if(self) -> None:
        targets = (Binary("click"), Continuous("spend", observed_if="click", sample_weight="importance"))
        schema = Schema(features=SCHEMA.features, targets=targets, sample_weight="share")
        labels, predictions = tables(label_click=[0, 1, None, 1])
        r = evaluate_predictions(schema, labels, predictions)  # needs no column of weights
        assert r.observed_rows == {"click": 3, "spend": 2}
        assert r.value("spend", "mean_label") == 3.0  # of 1 and 5

    def test_no_observed_label_is_undefined_with_a_reason(self) -> None:
        complete = report()
        r = report(label_click=[None] * 4, label_stars=[np.nan] * 4, label_spend=pd.array([None] * 4, dtype="Float64"))
        assert [row[:3] for row in r.rows] == [row[:3] for row in complete.rows]
        assert all(np.isnan(row.value) and row.note == "no row has an observed label" for row in r.rows)
        assert r.observed_rows == {"click": 0, "stars": 0, "spend": 0}


amounts = st.lists(st.integers(0, 1000).map(lambda v: v / 8), min_size=2, max_size=40)


class TestProperties:
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 64)), min_size=2, max_size=40))
    @few
    def test_auc_depends_on_the_order_only_and_counts_pairs(self, rows: list[tuple[bool, int]]) -> None:
        y, p = np.array([r[0] for r in rows]), np.array([r[1] for r in rows]) / 64
        assume(y.any() and not y.all())
        differences = p[y][:, None] - p[~y][None, :]
        by_pairs = np.mean((differences > 0) + 0.5 * (differences == 0))
        assert auc_report(y, p).value("c", "auc") == pytest.approx(by_pairs, abs=1e-12)
        assert auc_report(y, p**3 / 2 + 0.25).value("c", "auc") == pytest.approx(by_pairs, abs=1e-12)

    @given(amounts)
    @few
    def test_predicting_the_mean_has_nrmse_1(self, y: list[float]) -> None:
        assume(np.ptp(y) > 0)
        assert core_report(y, np.full(len(y), np.mean(y))).value("y", "nrmse") == pytest.approx(1, abs=1e-12)

    @given(
        st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=30),
        st.randoms(),
    )
    @few
    def test_the_order_of_the_rows_changes_nothing(self, rows: list[tuple[int, int, int]], random: Any) -> None:
        schema = Schema(features=SCHEMA.features, targets=(Binary("c"), Continuous("y")))
        labels = pd.DataFrame({"c": [r[0] for r in rows], "y": [r[1] for r in rows]})
        predictions = pd.DataFrame({"c": [r[2] / 9 for r in rows], "y": [r[2] for r in rows]})
        order = random.sample(range(len(rows)), len(rows))
        before = evaluate_predictions(schema, labels, predictions).to_frame()
        after = evaluate_predictions(schema, labels.iloc[order], predictions.iloc[order]).to_frame()
        np.testing.assert_allclose(after["value"], before["value"], rtol=0, atol=1e-12)


class TestUndefined:
    @pytest.mark.parametrize(
        ("columns", "target", "metric", "reason"),
        [
            ({"label_click": [1, 1, 1, 1]}, "click", "auc", "all labels are 1"),
            ({"label_stars": [0, 0, 2, 2]}, "stars", "macro_auc", "no label is of class 1"),
            ({"label_spend": [0.1, 0.1, 0.1, 0.1]}, "spend", "nrmse", "all labels are 0.1"),
            ({"label_spend": [0, 0, 0, 0]}, "spend", "nmae", "all labels are 0"),
            ({"label_spend": [0, 0, 0, 0]}, "spend", "gini", "all labels are 0"),
            ({"label_spend": [0, 0, 0, 0]}, "spend", "xauc", "all labels are 0"),
            ({"label_spend": [3, 3, 3, 3]}, "spend", "spearman", "all labels are 3"),
            ({"label_spend": [0, 0, 0, 1e-200]}, "spend", "nrmse", "the labels' standard deviation is 0"),
            ({"prediction_spend": [7, 7, 7, 7]}, "spend", "spearman", "all predictions are 7"),
        ],
    )
    def test_nan_with_a_reason(self, columns: dict[str, Any], target: str, metric: str, reason: str) -> None:
        r = report(**columns)
        assert np.isnan(r.value(target, metric))
        frame = r.to_frame().set_index(["target", "metric"])
        assert frame.loc[(target, metric), "note"] == reason
        document = json.loads(json.dumps(r.to_dict(), allow_nan=False))
        assert document["metrics"][target][metric] is None
        assert document["undefined"][target][metric] == reason
        assert "undefined" in str(r)
        assert reason in str(r)

    def test_a_constant_prediction_ranks_as_chance(self) -> None:
        assert report(prediction_spend=[7, 7, 7, 7]).value("spend", "gini") == pytest.approx(0, abs=1e-15)
        assert report(prediction_spend=[7, 7, 7, 7]).value("spend", "xauc") == 0.5

    def test_one_row(self) -> None:
        labels, predictions = tables()
        r = evaluate_predictions(SCHEMA, labels[:1], predictions[:1])
        assert r.num_rows == 1
        assert r.value("spend", "mae") == 1.0
        of_spread = {"nrmse", "spearman", "gini", "xauc"}
        of_size = {"nrmse_by_mean", "nmae", "decile_error", "level", "lift"}  # the one label is 0
        assert set(r.to_dict()["undefined"]["spend"]) == of_spread | of_size


class TestBadInput:
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (
                {"label_click": [0, 1, 2, 3]},
                r"'click', row 2 \(index 2\): .* 0 or 1; received 2 \(and 1 more such rows\)",
            ),
            ({"label_stars": [0, 1, 1.5, 1]}, r"'stars', row 2 .* class in 0 \.\. 2"),
            ({"label_spend": [0, -1, 1, 1]}, r"'spend', row 1 .* must not be negative"),
            ({"label_spend": ["a", "b", "1", "2"]}, r"'spend', row 0 .* must be a number; received 'a'"),
            ({"label_spend": pd.to_timedelta([1, 2, 3, 4], unit="s")}, r"'spend': .* must be a number; .*timedelta"),
            ({"prediction_spend": [0, 1, 2, np.inf]}, r"'spend', row 3 .* predictions must be finite numbers"),
            ({"prediction_click": [0, 1, 1.01, 0]}, r"'click', row 2 .* predictions must be probabilities"),
            ({"prediction_stars_2": [0.25, 0.2, 0.5, 0.25]}, r"'stars_0', row 1 .* the 3 .* must sum to 1"),
        ],
    )
    def test_names_the_column_and_the_row(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            report(**columns)

    def test_missing_and_repeated_columns(self) -> None:
        labels, predictions = tables()
        with pytest.raises(InputError, match="targets: column 'click' is missing"):
            evaluate_predictions(SCHEMA, labels.drop(columns="click"), predictions)
        with pytest.raises(InputError, match="predictions: column 'stars_1' is missing"):
            evaluate_predictions(SCHEMA, labels, predictions.drop(columns="stars_1"))
        with pytest.raises(InputError, match="column 'spend' appears 2 times"):
            evaluate_predictions(SCHEMA, pd.concat([labels, labels["spend"]], axis=1), predictions)

    def test_rows_must_correspond(self) -> None:
        labels, predictions = tables()
        with pytest.raises(InputError, match="4 rows of labels and 3 rows of predictions"):
            evaluate_predictions(SCHEMA, labels, predictions[:3])
        with pytest.raises(InputError, match="at row 1 it is 1 and 2"):
            evaluate_predictions(SCHEMA, labels, predictions.iloc[[0, 2, 1, 3]])
        with pytest.raises(InputError, match="no rows"):
            evaluate_predictions(SCHEMA, labels[:0], predictions[:0])

    def test_an_index_may_hold_nan_or_repeat(self) -> None:
        labels, predictions = tables()
        labels.index = predictions.index = pd.Index([1.0, 1.0, np.nan, 2.0])
        assert evaluate_predictions(SCHEMA, labels, predictions) == report()


WITH_USER = dataclasses.replace(SCHEMA, user="user_id")


class TestUsers:
    """The group AUC of click; its labels are 0 1 0 1, its predictions .25 .5 .5 .75."""

    def group_auc(self, users: Any, **columns: Any) -> tuple[float, str]:
        rows = evaluate_predictions(WITH_USER, *tables(**columns), users).rows
        return next((row.value, row.note) for row in rows if (row.target, row.metric) == ("click", "group_auc"))

    def test_is_the_mean_over_users_weighted_by_rows(self) -> None:
        # One pair each: .5 > .25 and .75 > .5. Then a: .5 = .5, half, while b has no row of class 1.
        assert self.group_auc(["a", "a", "b", "b"]) == (1.0, "")
        assert self.group_auc(["b", "a", "a", "b"]) == ((0.5 + 1) / 2, "")
        # a, three rows: .5 > .25, .5 = .5 -> 1.5 of 2; b has one row.
        assert self.group_auc(["a", "a", "a", "b"]) == (1.5 / 2, "")

    def test_rows_without_a_user_or_a_label_are_left_out(self) -> None:
        # a keeps rows 1 and 2: .5 = .5.
        for missing in (None, np.nan, pd.NA):
            assert self.group_auc([missing, "a", "a", missing]) == (0.5, "")
        assert self.group_auc(["a"] * 4, label_click=[None, 1, 0, None]) == (0.5, "")
        assert evaluate_predictions(WITH_USER, *tables(), [None] * 4).value("click", "auc") == 3.5 / 4

    @pytest.mark.parametrize(
        ("users", "columns", "reason"),
        [
            (["a", "b", "c", "d"], {}, "no user has rows of both classes"),
            ([1, 2, 1, 2], {"label_click": [0, 1, 0, 1]}, "no user has rows of both classes"),
            ([None] * 4, {}, "no row has a user"),
            (None, {}, "no row has a user"),
            (["a"] * 4, {"label_click": [None] * 4}, "no row has an observed label"),
        ],
    )
    def test_undefined_with_a_reason(self, users: Any, columns: dict[str, Any], reason: str) -> None:
        value, note = self.group_auc(users, **columns)
        assert np.isnan(value)
        assert note == reason

    def test_only_binary_targets_of_a_schema_with_a_user_have_one(self) -> None:
        assert all(row.metric != "group_auc" for row in report().rows)
        rows = evaluate_predictions(WITH_USER, *tables(), ["a"] * 4).rows
        assert [row.target for row in rows if row.metric == "group_auc"] == ["click"]
        assert [row.metric for row in rows][:3] == ["auc", "group_auc", "logloss"]
        with pytest.raises(InputError, match="the schema declares no column of users"):
            evaluate_predictions(SCHEMA, *tables(), ["a"] * 4)

    def test_users_must_be_those_of_the_rows(self) -> None:
        with pytest.raises(InputError, match="4 rows of labels and 3 users"):
            self.group_auc(["a"] * 3)
        with pytest.raises(InputError, match="at row 2 it is 2 and 3"):
            self.group_auc(pd.Series(["a"] * 4, index=[0, 1, 3, 2]))
        with pytest.raises(InputError, match="users must be text or whole numbers"):
            self.group_auc([["a"]] * 4)

    def test_large_numbers_beside_a_gap_stay_apart(self) -> None:
        # As float64 they would be one user, whose AUC is that of all rows but the first: 1.5 of 2.
        assert self.group_auc([None, 2**60, 2**60 + 1, 2**60 + 1]) == (1.0, "")


class TestReport:
    def test_survives_a_dictionary(self) -> None:
        labels, predictions = tables(label_click=[None, 1, 1, 1], label_spend=[3, 3, 3, 3])
        r = evaluate_predictions(WITH_USER, labels, predictions, ["a"] * 4)
        r = dataclasses.replace(r, out_of_vocabulary={"user_id": 0.25})
        document = json.loads(json.dumps(r.to_dict(), allow_nan=False))
        again = Report.from_dict(document, WITH_USER)
        pd.testing.assert_frame_equal(again.to_frame(), r.to_frame())  # for which NaN equals NaN
        assert {row.note for row in again.rows} > {"", "all labels are 3"}
        assert again.to_dict() == r.to_dict()
        assert again.to_text() == r.to_text()
        assert dataclasses.replace(again, rows=r.rows) == r

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metrics": {"buy": {"auc": 0.5}}}, "^the report judges the target 'buy', but the schema has .*'click'"),
            ({"metrics": {"click": {"acu": 0.5}}}, "^the report holds an unknown metric 'acu'"),
            ({"metrics": {"click": {"auc": None}}}, "no report: KeyError 'click'"),
            ({"metrics": {"click": {"auc": "high"}}}, "no report: .*'high'"),
            ({"metrics": None}, "no report"),
        ],
    )
    def test_refuses_what_is_no_report(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            Report.from_dict({**report().to_dict(), **changes}, SCHEMA)

    def test_frame_text_and_value(self) -> None:
        r = report()
        frame = r.to_frame()
        assert list(frame.columns) == ["target", "kind", "metric", "value", "note"]
        assert frame["value"].dtype == np.float64
        assert list(frame["target"].unique()) == ["click", "stars", "spend"]
        text = str(r)
        assert text.startswith("4 rows")
        assert "spend (EUR)" in text
        assert "0.8750" in text
        assert "0.88" in r.to_text(digits=2)
        with pytest.raises(InputError, match="no metric 'nrmse' of target 'click'"):
            r.value("click", "nrmse")

    def test_large_amounts_keep_the_table_narrow(self) -> None:
        text = str(report(label_spend=[0, 1e6, 2e6, 5e6], prediction_spend=[0, 0, 0, 1234567.891]))
        assert "308,642.0" in text


def test_evaluate_checks_the_labels_before_it_encodes(
    make_model: Any, frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model()
    calls: list[pd.DataFrame] = []
    encode = model.encoder.encode
    monkeypatch.setattr(type(model.encoder), "encode", lambda self, rows: calls.append(rows) or encode(rows))
    with pytest.raises(InputError, match=r"column 'click', row 1 \(index 1\)"):
        evaluate(model, frame.assign(click=[0, 5] * 200))
    assert not calls
    assert evaluate(model, frame).num_rows == 400
    assert len(calls) == 1


def test_the_report_tells_what_the_vocabulary_lacks(make_model: Any, frame: pd.DataFrame) -> None:
    model = make_model()
    strange = frame.assign(user_id=["new"] * 100 + ["u1"] * 200 + [None] * 100)
    report = evaluate(model, strange)
    assert report.out_of_vocabulary["user_id"] == pytest.approx(1 / 3)
    assert "user_id 33.3%" in report.to_text()
    assert report.to_dict()["out_of_vocabulary"]["user_id"] == pytest.approx(1 / 3)


def test_scored_rows_give_the_report_of_evaluate(make_model: Any, frame: pd.DataFrame) -> None:
    model = make_model()
    model.schema = dataclasses.replace(model.schema, user="user_id")
    scored = score(model, frame)
    assert isinstance(scored, Scored)
    assert list(scored.labels) == list(scored.predictions) == ["click", "buy", "spend"]
    assert scored.users is not None
    assert scored.users.isna().tolist() == frame["user_id"].isna().tolist()
    whole = evaluate(model, frame)
    assert scored.report(model.schema) == whole
    # By hand from the users' own AUCs.
    judged = pd.DataFrame({"y": frame["click"], "p": scored.predictions["click"], "user": frame["user_id"]}).dropna()
    shares = {
        user: (len(rows), auc_report(rows["y"].to_numpy(), rows["p"].to_numpy()).value("c", "auc"))
        for user, rows in judged.groupby("user")
        if rows["y"].nunique() == 2
    }
    expected = sum(n * auc for n, auc in shares.values()) / sum(n for n, _ in shares.values())
    assert whole.value("click", "group_auc") == pytest.approx(expected, abs=1e-12)
    with pytest.raises(InputError, match="users: column 'shop' is missing"):
        model.schema = dataclasses.replace(model.schema, user="shop")
        evaluate(model, frame)


def test_without_a_user_in_the_schema_nothing_asks_for_one(make_model: Any, frame: pd.DataFrame) -> None:
    scored = score(make_model(), frame)
    assert scored.users is None
    assert all(row.metric != "group_auc" for row in scored.report(make_model().schema).rows)


def test_a_stream_delivers_the_user(make_model: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = make_model()
    model.schema = dataclasses.replace(model.schema, user="account")
    frame = frame.assign(account=np.arange(len(frame)) % 7 + 2**60)
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    write_tfrecord(frame, tmp_path / "rows.tfrecord", model.schema)
    expected = evaluate(model, frame)
    for name in ("rows.parquet", "rows.csv", "rows.tfrecord"):
        stream = dataclasses.replace(open_stream(tmp_path / name, model.schema), chunk_rows=90)
        assert evaluate(model, stream).value("click", "group_auc") == pytest.approx(
            expected.value("click", "group_auc"), abs=1e-6
        )
