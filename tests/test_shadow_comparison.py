"""`htlnet compare-logs` over lines written by hand, and over those of a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import htlnet_tf as htl
from htlnet_tf.serving.clients.shadow_log import ShadowLog
from tests.conftest import htlnet


def answer(asked: str, scores: dict[str, list[float]] | None, seconds: float, index: list[Any] | None = None) -> Any:
    count = 0 if scores is None else len(next(iter(scores.values())))
    return {
        "asked": asked,
        "seconds": seconds,
        "error": "TimedOutError: too late" if scores is None else None,
        "index": None if scores is None else index or list(range(count)),
        "scores": scores,
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two requests with answers of both, one that the second failed, and two that were dropped."""
    written = ShadowLog(tmp_path / "log")

    def write(keys: list[Any], first: Any, second: Any, method: str = "predict") -> None:
        written.write({"method": method, "keys": {"id": keys}, "first": first, "second": second})

    write(
        [1, 2],
        answer("stable", {"click": [0.1, 0.4], "spend": [1.0, 2.0]}, 0.010),
        answer("canary", {"click": [0.2, 0.3], "spend": [5.0, 3.0], "more": [1.0, 1.0]}, 0.030),
    )
    write(
        [3, 4],
        answer("stable", {"click": [0.8, 0.6], "spend": [4.0, 3.0]}, 0.020),
        answer("canary", {"click": [0.9, 0.7], "spend": [6.0, 4.0], "more": [1.0, 1.0]}, 0.040),
    )
    write([5], answer("stable", {"click": [0.5], "spend": [1.0]}, 0.030), answer("canary", None, 9.0))
    written.write({"dropped": 2})
    written.close()
    return tmp_path / "log"


def test_by_hand(log: Path) -> None:
    found = htl.compare_logs([log])
    assert (found.requests, found.dropped, found.dropped_share) == (3, 2, 0.4)
    assert found.asked == {"first": "stable", "second": "canary"}
    assert found.failed == {"first": 0.0, "second": pytest.approx(1 / 3)}
    assert found.latency_ms["first"][0] == pytest.approx(20)
    assert found.latency_ms["second"] == pytest.approx((35, 39.9))  # of 30 and 40, linear between them
    click, spend = found.scores  # `more` is of the second alone
    assert (click.name, click.rows) == ("click", 4)
    assert (click.mean_first, click.mean_second) == pytest.approx((0.475, 0.525))
    assert click.quantiles[2] == pytest.approx(0.1)
    assert click.spearman == 1.0
    assert (click.other_best, click.same_top) == (0.0, 1.0)
    # Of spend the first request has another best row, the second the same.
    assert (spend.other_best, spend.same_top) == (0.5, 0.5)
    assert found.labelled_rows is None


def test_labels_are_joined_by_the_keys(log: Path, tmp_path: Path) -> None:
    labels = pd.DataFrame({"id": [4, 3, 2, 1], "click": [1, 1, 0, 0], "spend": [3.0, 4.0, 2.0, 0.5]})
    found = htl.compare_logs([log], labels)
    assert found.labelled_rows == 4
    assert found.metrics["click"]["auc"] == {"first": 1.0, "second": 1.0}
    # Total predicted over total actual: 10 and 18 over 9.5.
    assert found.metrics["spend"]["level"] == {"first": pytest.approx(10 / 9.5), "second": pytest.approx(18 / 9.5)}
    labels.head(2).to_csv(tmp_path / "labels.csv", index=False)
    assert htl.compare_logs([log], tmp_path / "labels.csv").labelled_rows == 2
    with pytest.raises(htl.InputError, match="twice"):
        htl.compare_logs([log], pd.concat([labels, labels]))
    with pytest.raises(htl.InputError, match="lack the column 'id'"):
        htl.compare_logs([log], labels.drop(columns="id"))
    with pytest.raises(htl.InputError, match="called as a score"):
        htl.compare_logs([log], labels[["id"]])


def test_ranked_answers_are_joined_by_their_index(tmp_path: Path) -> None:
    written = ShadowLog(tmp_path)
    first = answer("stable", {"score": [3.0, 2.0, 1.0]}, 0.01, index=["c", "a", "b"])
    second = answer("canary", {"score": [9.0, 8.0, 7.0]}, 0.01, index=["a", "d", "c"])
    written.write({"method": "rank", "keys": {}, "first": first, "second": second})
    written.close()
    (score,) = htl.compare_logs([tmp_path]).scores
    assert score.rows == 2  # c and a
    assert (score.mean_first, score.mean_second) == (2.5, 8.0)
    with pytest.raises(htl.InputError, match="shadow_keys"):
        htl.compare_logs([tmp_path], pd.DataFrame({"id": [1]}))


def test_the_command(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert htlnet("compare-logs", str(log)) == 0
    printed = capsys.readouterr().out
    assert "3 requests of both; 2 more dropped (40.00%)" in printed
    assert htlnet("compare-logs", str(log), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["latency_ms"]["first"]["p50"] == pytest.approx(20)
    assert document["scores"][0]["quantiles"]["p50"] == pytest.approx(0.1)
    pd.DataFrame({"id": [1, 2], "click": [0, 1]}).to_parquet(tmp_path / "labels.parquet")
    assert htlnet("compare-logs", str(log), "--labels", str(tmp_path / "labels.parquet")) == 0
    assert "2 rows have labels" in capsys.readouterr().out
    assert htlnet("compare-logs", str(tmp_path / "none")) == 2
    # Nothing was answered by both: there are counts and latencies, and no scores.
    written = ShadowLog(tmp_path / "failed")
    written.write({"method": "predict", "keys": {}, "first": answer("a", None, 1.0), "second": answer("b", None, 1.0)})
    written.close()
    assert htlnet("compare-logs", str(tmp_path / "failed")) == 0
    assert "100.00%" in capsys.readouterr().out
