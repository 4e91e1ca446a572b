"""The gate between a new model and the one in service, on predictions whose difference is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.judging.evaluation import evaluate_predictions
from htlnet_tf.judging.gate import gate, require_same_targets
from htlnet_tf.judging.gate_settings import MARGINS, GateSettings

SCHEMA = htl.Schema(
    features=[htl.Categorical("user", group="user")],
    targets=[htl.Binary("click"), htl.Continuous("spend")],
    user="user",
)
ROWS = 4000


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Labels, the predictions that they were drawn by, and users."""
    random = np.random.default_rng(0)
    p, amount = random.beta(1, 3, ROWS), random.gamma(2, 5, ROWS)
    click = random.binomial(1, p)
    labels = pd.DataFrame({"click": click, "spend": click * amount * random.lognormal(-0.02, 0.2, ROWS)})
    return labels, pd.DataFrame({"click": p, "spend": p * amount}), random.integers(0, 300, ROWS)


def blurred(predictions: pd.DataFrame, size: float) -> pd.DataFrame:
    """The same with noise in the logit of the step."""
    p = predictions["click"].to_numpy()
    noise = np.random.default_rng(1).normal(0, size, len(p))
    return predictions.assign(click=1 / (1 + np.exp(-np.log(p / (1 - p)) - noise)))


def test_a_model_is_as_good_as_itself(rows: tuple[pd.DataFrame, pd.DataFrame, np.ndarray]) -> None:
    labels, predictions, users = rows
    report = gate(SCHEMA, labels, predictions, predictions, users, GateSettings(resamples=20))
    assert report.ok
    assert (report.rows, report.users) == (ROWS, len(np.unique(users)))
    assert all((v.worse, v.low, v.high) == (0, 0, 0) for v in report.verdicts)
    # What is judged is what a report says.
    expected = evaluate_predictions(SCHEMA, labels, predictions, users)
    for v in report.verdicts:
        if (v.target, v.metric) != ("click", "level"):  # which a report has of amounts alone
            tolerance = 1e-3 if v.metric in ("calibration_error", "decile_error") else 1e-9
            assert v.stable == pytest.approx(expected.value(v.target, v.metric), rel=tolerance), v
    judged = {v.metric for v in report.verdicts}
    assert judged == MARGINS.keys() - {"macro_auc", "accuracy", "pinball"}
    assert "no metric is worse beyond its margin" in report.to_text()


def test_what_is_worse_is_told_with_its_interval(rows: tuple[pd.DataFrame, pd.DataFrame, np.ndarray]) -> None:
    labels, predictions, users = rows
    report = gate(SCHEMA, labels, blurred(predictions, 1.0), predictions, users)
    assert not report.ok
    failed = {(v.target, v.metric): v for v in report.failed}
    assert {("click", "auc"), ("click", "logloss"), ("click", "group_auc")} <= failed.keys()
    assert all(target == "click" for target, _ in failed)
    auc = failed["click", "auc"]
    assert auc.low < auc.worse < auc.high
    assert auc.worse == pytest.approx(auc.stable - auc.new)
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["ok"] is False
    assert set(document["failed"]) == {f"{target} {metric}" for target, metric in failed}
    assert "WORSE" in report.to_text()
    # The other way round it is better, and passes even where it has to be shown.
    better = gate(SCHEMA, labels, predictions, blurred(predictions, 1.0), users, GateSettings(strict=True))
    assert better.ok, better.to_text()
    # A margin can be of a target's metric.
    wide = {f"{target}.{metric}": 10.0 for target, metric in failed}
    assert gate(SCHEMA, labels, blurred(predictions, 1.0), predictions, users, GateSettings(margins=wide)).ok


def test_the_interval_is_that_of_a_paired_bootstrap(rows: tuple[pd.DataFrame, pd.DataFrame, np.ndarray]) -> None:
    """Against users drawn with replacement in a loop, their rows judged by the exact metrics."""
    labels, predictions, users = rows
    new = blurred(predictions, 0.5)
    report = gate(SCHEMA, labels, new, predictions, users, GateSettings(resamples=400))
    verdict = next(v for v in report.verdicts if (v.target, v.metric) == ("click", "logloss"))
    losses = [-np.log(np.where(labels["click"] == 1, p["click"], 1 - p["click"])) for p in (new, predictions)]
    difference = losses[0] - losses[1]
    random = np.random.default_rng(2)
    drawn = []
    for _ in range(400):
        counts = np.bincount(random.integers(0, 300, 300), minlength=300)[users]
        drawn.append(np.average(difference, weights=counts))
    low, high = np.quantile(drawn, (0.025, 0.975))
    width = high - low
    assert verdict.worse == pytest.approx(difference.mean())
    assert verdict.low == pytest.approx(low, abs=0.15 * width)
    assert verdict.high == pytest.approx(high, abs=0.15 * width)


def test_chance_is_no_failure_but_nothing_is_shown_by_few_rows(
    rows: tuple[pd.DataFrame, pd.DataFrame, np.ndarray],
) -> None:
    labels, predictions, users = (part[:150] for part in rows)
    new = blurred(predictions, 0.3)
    loose = gate(SCHEMA, labels, new, predictions, users)
    strict = gate(SCHEMA, labels, new, predictions, users, GateSettings(strict=True))
    assert [v.worse for v in loose.verdicts] == [v.worse for v in strict.verdicts]
    assert len(strict.failed) > len(loose.failed)


def test_masked_labels_rankings_and_no_users() -> None:
    random = np.random.default_rng(3)
    schema = htl.Schema(
        features=[htl.Categorical("item")],
        targets=[htl.Binary("click"), htl.Multiclass("kind", num_classes=3), htl.Continuous("spend")],
        ranking=htl.Ranking({"click": 1.0, "spend": 1.0}),
    )
    click = random.binomial(1, 0.5, 500).astype(float)
    click[::5] = np.nan
    labels = pd.DataFrame({"click": click, "kind": random.integers(0, 3, 500), "spend": random.gamma(2, 2, 500)})
    classes = random.dirichlet([1, 1, 1], 500)
    predictions = pd.DataFrame({"click": random.random(500), **{f"kind_{k}": classes[:, k] for k in range(3)}})
    predictions = predictions.assign(spend=random.gamma(2, 2, 500), score=random.random(500))
    report = gate(schema, labels, predictions, predictions, settings=GateSettings(resamples=20))
    assert report.users == 500
    expected = evaluate_predictions(schema, labels, predictions)
    found = {(v.target, v.metric): v.new for v in report.verdicts}
    assert found["click", "auc"] == pytest.approx(expected.value("click", "auc"))
    assert found["spend", "lift"] == pytest.approx(expected.value("spend", "lift"))
    assert found["kind", "macro_auc"] == pytest.approx(expected.value("kind", "macro_auc"))
    assert not any(metric in ("ndcg", "group_auc", "captured") for _, metric in found)
    with pytest.raises(htl.InputError, match="they need labels"):
        gate(schema, labels.assign(click=np.nan, kind=np.nan, spend=np.nan), predictions, predictions)
    # One class leaves the AUC undefined, and nothing else.
    one = gate(schema, labels.assign(click=1), predictions, predictions, settings=GateSettings(resamples=20))
    assert one.undefined == ("click auc",)


def test_settings_and_targets_are_checked() -> None:
    with pytest.raises(ValueError, match="no metric of the gate"):
        GateSettings(margins={"click.acu": 0.1})
    with pytest.raises(ValueError, match="must not be negative"):
        GateSettings(margins={"auc": -0.1})
    other = htl.Schema(features=SCHEMA.features, targets=[htl.Binary("view"), htl.Continuous("spend")])
    with pytest.raises(htl.InputError, match=r"other targets.*'view'"):
        require_same_targets(SCHEMA, other)
