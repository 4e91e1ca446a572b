"""What weights of a ranking trade: clicks against the core."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.ticker import PercentFormatter

from htlnet_tf.plots.figure import (
    CORE,
    RAW,
    TRAIN,
    VALIDATION,
    PathLike,
    add_legend,
    finish,
    handle,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from htlnet_tf.judging.ranking_search import RankingSearch

_DECLARED = "#009E73"


def plot_ranking_search(search: RankingSearch, path: PathLike, *, core: str) -> Path:
    """All weights that were tried by the clicks and the share of the core in the first rows, with the front.

    Args:
      search: What was found.
      path: The PNG file to write.
      core: The core's name.

    Returns:
      `path`.

    Raises:
      InputError: The file cannot be written.
    """
    tried = search.tried
    front = tried[tried["on_front"]]
    figure = new_figure(6.2, 4.6)
    axes = figure.subplots()
    finish(axes)
    axes.plot(tried["clicks"], tried["core"], "o", color=RAW, markersize=3, alpha=0.5)
    axes.plot(front["clicks"], front["core"], "-o", color=TRAIN, markersize=4, linewidth=1.5)
    bound = search.by_click.clicks * (1 - search.max_lost_clicks)
    axes.axvline(bound, color="0.4", linewidth=1.0, linestyle="--")
    handles = [
        handle("tried", RAW, "o", markersize=4),
        handle("no others have more of both", TRAIN, "o-"),
        handle(f"{search.max_lost_clicks:.1%} of the clicks lost", "0.4", "--", linewidth=1.0),
    ]
    named = [(f"by {search.click} alone", search.by_click, "s", CORE), ("proposed", search.chosen, "D", VALIDATION)]
    if search.declared is not None:
        named.append(("the schema's ranking", search.declared, "^", _DECLARED))
    for label, outcome, marker, colour in named:
        axes.plot([outcome.clicks], [outcome.core], marker, color=colour, markersize=9, zorder=5)
        handles.append(handle(label, colour, marker, markersize=8))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"share of all {search.click} in the first {search.k} rows of each user")
    axes.set_ylabel(f"share of all {core} there")
    add_legend(figure, handles, widest=3)
    return save(figure, path)
