"""The trade-off of a ranking's weights as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from htlnet_tf import plots
from htlnet_tf.judging.ranking_search import Outcome, RankingSearch
from htlnet_tf.schema import Ranking
from tests.plots.pictures import check, legend


def search(declared: Outcome | None) -> RankingSearch:
    tried = pd.DataFrame(
        {"clicks": [0.8, 0.7, 0.6], "core": [0.3, 0.5, 0.4], "on_front": [True, True, False], "is_chosen": False}
    )
    outcomes = Outcome(0.7, 0.5, 0.6), Outcome(0.8, 0.3, 0.5)
    return RankingSearch("click", 10, 0.02, 90, 9, 5, tried, Ranking({"click": 1.0}), *outcomes, declared)


def test_front_and_named_orders(tmp_path: Path, drawn: list[Any]) -> None:
    path = tmp_path / "search.png"
    assert plots.plot_ranking_search(search(Outcome(0.75, 0.35, 0.5)), path, core="spend") == path
    check(path)
    (axes,) = drawn[0].axes
    assert legend(drawn[0]) == [
        "tried",
        "no others have more of both",
        "2.0% of the clicks lost",
        "by click alone",
        "proposed",
        "the schema's ranking",
    ]
    front = axes.lines[1]
    assert front.get_xdata().tolist() == [0.8, 0.7] and front.get_ydata().tolist() == [0.3, 0.5]
    assert axes.get_xlabel() == "share of all click in the first 10 rows of each user"


def test_without_a_declared_ranking(tmp_path: Path, drawn: list[Any]) -> None:
    plots.plot_ranking_search(search(None), tmp_path / "search.png", core="spend")
    assert "the schema's ranking" not in legend(drawn[0])
