"""`htlnet rank-search`: weights of a ranking for a run, chosen on its validation rows, told beside the test rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from htlnet_tf.documents import without_nan
from htlnet_tf.encoding.encoded import Rows
from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.evaluation import Scored, score
from htlnet_tf.judging.ranking_metrics import K, require_k
from htlnet_tf.judging.ranking_search import (
    MAX_LOST_CLICKS,
    WEIGHT,
    ListJudge,
    Outcome,
    RankingSearch,
    click_of,
    search_ranking,
)
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.plots import plot_ranking_search
from htlnet_tf.runs.config import load_rows
from htlnet_tf.runs.folder import load_model
from htlnet_tf.runs.parts import rows_of_part, split_rule
from htlnet_tf.schema import Ranking, Schema
from htlnet_tf.scoring.power_product import log_scores
from htlnet_tf.text_tables import aligned

TABLE, PICTURE = "rank_search.csv", "rank_search.png"
_MOST_LINES = 20


@dataclasses.dataclass(frozen=True)
class RunRankSearch:
    """What the search found for a run.

    Attributes:
      run: The run folder.
      search: On the rows that the weights were chosen on.
      rows: Which rows these are, in words.
      core: The core's name.
      test: By what was ranked by, the outcome on the test rows, which chose nothing; a reason where there is none.
      table: The file with all that was tried.
      picture: The picture of it.
    """

    run: str
    search: RankingSearch
    rows: str
    core: str
    test: dict[str, Outcome] | str
    table: Path
    picture: Path

    @property
    def line(self) -> str:
        """The proposal as a line of a schema file."""
        ranking = yaml.safe_dump(self.search.ranking.to_dict(), default_flow_style=True, sort_keys=False, width=10_000)
        return f"ranking: {ranking.strip()}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is None."""
        search = self.search
        named = _named(search)
        document: dict[str, Any] = {
            "run": self.run,
            "rows": {
                "part": self.rows,
                "rows": search.rows,
                "users": search.users,
                "users_with_more_than_k_rows": search.long_lists,
            },
            "k": search.k,
            "click": search.click,
            "core": self.core,
            "max_lost_clicks": search.max_lost_clicks,
            "ranking": search.ranking.to_dict(),
            "yaml": self.line,
            "outcomes": {name: self._outcome(outcome, search.by_click) for name, outcome in named.items()},
            "front": search.tried[search.tried["on_front"]].drop(columns="on_front").to_dict("records"),
            "test": (
                {"undefined": self.test}
                if isinstance(self.test, str)
                else {name: self._outcome(outcome, self.test["click alone"]) for name, outcome in self.test.items()}
            ),
            "table": str(self.table),
            "picture": str(self.picture),
        }
        plain: dict[str, Any] = without_nan(document)
        return plain

    def to_text(self) -> str:
        """The trade-off as a table, the proposal as a line to paste, and what it does on the test rows."""
        search, front = self.search, self.search.tried[self.search.tried["on_front"]]
        weights = [str(name) for name in front if str(name).startswith(WEIGHT)]
        shown = _thinned(front)
        header = [*weights, f"{search.click} captured", f"{self.core} captured", f"NDCG@{search.k}", "clicks lost", ""]
        lines = [
            [
                *(f"{row[name]:g}" for name in weights),
                *_cells(row["clicks"], row["core"], row["ndcg"], row["lost_clicks"]),
                "<- proposed" if row["is_chosen"] else "",
            ]
            for row in shown.to_dict("records")
        ]
        thinned = f"; {len(shown)} of {len(front)} shown" if len(shown) < len(front) else ""
        blocks = [
            f"{self.rows}: {search.rows:,} rows of {search.users:,} users; {search.long_lists:,} users have more than "
            f"k = {search.k} rows, and only there the order counts",
            f"weights that no others beat in both (of {len(search.tried)} tried{thinned}); captured: the share of the "
            f"total that the first {search.k} rows of each user have",
            aligned([header, *lines]),
            self._outcomes(_named(search)),
            f"the most of {self.core} with at most {search.max_lost_clicks:.1%} of the clicks lost, for the schema:",
            self.line,
            self.test
            if isinstance(self.test, str)
            else f"test part, which chose nothing:\n{self._outcomes(self.test)}",
            f"written: {self.table}, {self.picture}",
        ]
        return "\n\n".join(blocks)

    def _outcomes(self, outcomes: dict[str, Outcome]) -> str:
        by_click = outcomes["click alone"]
        header = ["ranked by", f"{self.search.click} captured", f"{self.core} captured", f"NDCG@{self.search.k}"]
        rows = [[name, *_cells(*outcome, _lost(outcome, by_click))] for name, outcome in outcomes.items()]
        return aligned([[*header, "clicks lost"], *rows])

    @staticmethod
    def _outcome(outcome: Outcome, by_click: Outcome) -> dict[str, float]:
        return {**outcome._asdict(), "lost_clicks": _lost(outcome, by_click)}


def rank_search(
    run: str | Path,
    *,
    data: str | Path | None = None,
    max_lost_clicks: float = MAX_LOST_CLICKS,
    k: int = K,
    output: str | Path | None = None,
    write: Callable[[str], None] = print,
) -> RunRankSearch:
    """Searches weights for a run's ranking on its validation rows, and tells what they do on its test rows.

    The rows are those of the run's configuration, or of `data`, by the rule that split them in training. A run without
    such a rule, as `htlnet_tf.save_run` writes, has no parts: all rows of `data` then count as validation rows, and
    whoever gives them knows whether they were trained on.

    Args:
      run: The run folder.
      data: Stands in for the data path of the run's configuration.
      max_lost_clicks: As of `search_ranking`.
      k: How many rows of a user's list count.
      output: Folder of `rank_search.csv` and `rank_search.png`; None: the run folder.
      write: Where progress lines go.

    Returns:
      What was found; the files are written.

    Raises:
      InputError: The folder is no run, the data are not usable, there are no validation rows, or as for
        `search_ranking`.
    """
    require_k(k)
    config, model = load_model(run)
    if model.schema.user is None:
        raise InputError("weights are chosen by the lists of users: the schema must say which column is the `user`")
    click_of(model.schema)  # before the expensive part
    config = config.with_data(data)
    rows, split = load_rows(config).rows, split_rule(run, data)
    where = f"the rows of {data or config.data.path or f'the loader {config.data.loader!r}'}"
    valid = rows if split is None else rows_of_part(rows, split, "valid")
    told = (
        f"all of {where}, for the run has no rule that splits them" if split is None else f"validation part of {where}"
    )
    write(f"scoring the {told}")
    scored = _scored(model, valid)
    if scored is None:
        raise InputError(f"none of {where} is a validation row by the run's split")
    search = search_ranking(model.schema, scored, k=k, max_lost_clicks=max_lost_clicks)
    write(f"{len(search.tried)} weight vectors tried")
    folder = local_path(run if output is None else output)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / TABLE) as partial:
        search.tried.to_csv(partial, index=False)
    plot_ranking_search(search, folder / PICTURE, core=model.schema.core.name)
    test = "no test part: the run has no rule that splits them"
    found = test if split is None else _on_test(model, rows_of_part(rows, split, "test"), search)
    return RunRankSearch(str(run), search, told, model.schema.core.name, found, folder / TABLE, folder / PICTURE)


def _scored(model: ScoringModel, rows: Rows) -> Scored | None:
    """Rows with predictions; None if there are no rows."""
    frames = [rows] if isinstance(rows, pd.DataFrame) else dataclasses.replace(rows, schema=model.schema)
    return score(model, rows, levels=False) if any(len(frame) for frame in frames) else None


def _on_test(model: ScoringModel, rows: Rows, search: RankingSearch) -> dict[str, Outcome] | str:
    scored = _scored(model, rows)
    if scored is None:
        return "no test part: none of the rows is a test row by the run's split"
    try:
        judged = ListJudge(model.schema, scored, search.k)
    except InputError as error:
        return f"the test part says nothing: {error}"
    rankings = _rankings(model.schema, search)
    return {name: judged(log_scores(ranking, scored.predictions)) for name, ranking in rankings.items()}


def _rankings(schema: Schema, search: RankingSearch) -> dict[str, Ranking]:
    declared = {} if schema.ranking is None else {"the schema's ranking": schema.ranking}
    return {"click alone": Ranking({search.click: 1.0}), **declared, "proposed": search.ranking}


def _named(search: RankingSearch) -> dict[str, Outcome]:
    declared = {} if search.declared is None else {"the schema's ranking": search.declared}
    return {"click alone": search.by_click, **declared, "proposed": search.chosen}


def _lost(outcome: Outcome, by_click: Outcome) -> float:
    return 1 - outcome.clicks / by_click.clicks


def _cells(clicks: float, core: float, ndcg: float, lost: float) -> list[str]:
    return [f"{clicks:.4f}", f"{core:.4f}", "undefined" if math.isnan(ndcg) else f"{ndcg:.4f}", f"{lost:+.2%}"]


def _thinned(front: pd.DataFrame) -> pd.DataFrame:
    """At most twenty rows of the front, evenly, the chosen one among them."""
    if len(front) <= _MOST_LINES:
        return front
    kept = {round(i * (len(front) - 1) / (_MOST_LINES - 1)) for i in range(_MOST_LINES)}
    kept.add(int(front["is_chosen"].to_numpy().argmax()))
    return front.iloc[sorted(kept)]
