"""How the training went: losses, metrics and the tasks' gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from htlnet_tf.judging.reports import METRICS
from htlnet_tf.page.blocks import Block, Charts, Folded, Heading, Section, Text
from htlnet_tf.page.charts import COLOURS, Chart, Series, line_chart
from htlnet_tf.page.run_inputs import RunInputs

_MOST_POINTS = 120
_GRADIENTS = {
    "norm": ("gradient norm", None),
    "cosine": ("cosine with the core", 0.0),
    "coefficient": ("coefficient in the sum", 1.0),
}


def learning_section(run: RunInputs) -> Section | None:
    """Curves over the validations, and the gradients over the steps if the model keeps them."""
    blocks: list[Block] = []
    if run.history is not None:
        charts = _curves(run, run.history)
        first, others = charts[:3], charts[3:]
        if run.known.members:
            blocks.append(Text("The larger dot is of the validation whose weights the model has."))
        blocks.append(Charts(first))
        if others:
            blocks.append(Folded(f"{len(others)} more curves", [Charts(others)]))
    if run.gradients is not None:
        blocks += gradient_blocks([t.name for t in run.schema.targets], run.gradients)
    return Section("learning", "Learning", blocks) if blocks else None


def gradient_blocks(
    targets: Sequence[str], gradients: pd.DataFrame, *, heading: str = "Gradients", explained: bool = True
) -> list[Block]:
    """The gradients of a model that keeps them; nothing else.

    Args:
      targets: In funnel order, the core last.
      gradients: Per step the series of `htlnet_tf.runs.callbacks.GradientHistory`; of an ensemble with `seed`.
      heading: Above them.
      explained: Whether it is said what they are.
    """
    table = _of_first_member(gradients)
    charts = []
    for quantity, (title, guide) in _GRADIENTS.items():
        columns = {t: f"{t}_gradient_{quantity}" for t in targets}
        known = {
            t: name for t, name in columns.items() if name in table and not (quantity == "cosine" and t == targets[-1])
        }
        if known:
            charts.append(_gradient_chart(title, table, known, targets, quantity, guide))
    if not charts:
        return []
    said = "Of each target's gradient on the shared embedding, per step"
    said += ", of the first member" if "seed" in gradients else ""
    said += ", as running medians" if len(table) > _MOST_POINTS else ""
    said += (
        ": its norm, its cosine with the core's (below 0 they conflict), and its coefficient in the optimizer's sum."
    )
    return [Heading(heading), *([Text(said)] if explained else []), Charts(charts)]


def thinned(values: np.ndarray, most: int = _MOST_POINTS) -> tuple[list[float], list[float]]:
    """At most so many points of a long series: the median of each stretch, at its middle, steps counted from 1.

    Args:
      values: float64 [N], NaN where there is none.
      most: Points that are kept.

    Returns:
      Steps and values, of equal length; NaN for a stretch without values.
    """
    if len(values) <= most:
        return [float(i) for i in range(1, len(values) + 1)], [float(v) for v in values]
    steps, found = [], []
    for part in np.array_split(np.arange(len(values)), most):
        stretch = values[part]
        stretch = stretch[np.isfinite(stretch)]
        steps.append(float(part.mean() + 1))
        found.append(float(np.median(stretch)) if stretch.size else math.nan)
    return steps, found


def _curves(run: RunInputs, history: pd.DataFrame) -> list[Chart]:
    """The relative loss and each target's headline first, as the page shows three at once."""
    members = dict(tuple(history.groupby("seed", sort=False))) if "seed" in history else {None: history}
    names = list(dict.fromkeys(str(c).removeprefix("val_") for c in history if c not in ("seed", "epoch", "check")))
    names = [n for n in names if "_gradient_" not in n and n != "learning_rate"]
    targets = [t.name for t in run.schema.targets]
    core = run.schema.core.name
    first = ["relative_loss", *(f"{t.name}_auc" for t in run.schema.steps), f"{core}_nrmse"]
    names = [n for n in first if n in names] + [n for n in names if n not in first]
    names = _core_among_the_first(names, f"{core}_nrmse")
    parts = run.settings.get("training", {}).get("validations_per_epoch", 1)
    x_label = "epoch" if parts == 1 else f"validation, {parts} in an epoch"
    best = {m.seed: m.best for m in run.known.members}
    return [_curve(name, members, targets, x_label, best) for name in names]


def _core_among_the_first(names: list[str], core: str) -> list[str]:
    """The core stands among the three that are not folded away, however many steps there are."""
    if core in names[3:]:
        names = [name for name in names if name != core]
        names.insert(2, core)
    return names


def _curve(name: str, members: dict, targets: Sequence[str], x_label: str, best: dict[int, int]) -> Chart:
    series = []
    for number, (seed, table) in enumerate(members.items()):
        of_member = "" if len(members) == 1 else f", seed {seed}"
        x = [float(i) for i in range(1, len(table) + 1)]
        marked = best.get(int(seed) if seed is not None else next(iter(best), 0))
        if f"val_{name}" in table:
            colour = "c2" if len(members) == 1 else COLOURS[number % len(COLOURS)]
            kept = marked - 1 if marked is not None and marked <= len(x) else None
            values = [float(v) for v in table[f"val_{name}"]]
            series.append(Series(f"validation{of_member}", x, values, colour, dots=len(x) <= 30, best=kept))
        if name in table and len(members) == 1:
            series.append(Series("training", x, [float(v) for v in table[name]], "c1", dots=len(x) <= 30))
    return line_chart(_title(name, targets), series, x_label=x_label, counted=True)


def _title(name: str, targets: Sequence[str]) -> str:
    """`click_auc` is the AUC of click; the longest target that fits, for one name may begin with another's."""
    target = max((t for t in targets if name.startswith(f"{t}_")), key=len, default="")
    quantity = name[len(target) + 1 :] if target else name
    metric = METRICS.get(quantity)
    better = {"loss": "↓", "relative_loss": "↓"}.get(quantity, "")
    label = f"{metric.label} {metric.arrow}".rstrip() if metric else f"{quantity.replace('_', ' ')} {better}".rstrip()
    return f"{target}: {label}" if target else label


def _gradient_chart(
    title: str, table: pd.DataFrame, columns: dict[str, str], targets: Sequence[str], quantity: str, guide: float | None
) -> Chart:
    series = []
    for target, column in columns.items():
        steps, values = thinned(table[column].to_numpy(np.float64))
        core = target == targets[-1]
        colour = "core" if core else COLOURS[targets.index(target) % len(COLOURS)]
        series.append(Series(f"{target} (core)" if core else target, steps, values, colour))
    return line_chart(title, series, x_label="step", may_be_log=quantity != "cosine", guide=guide, counted=True)


def _of_first_member(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["seed"] == table["seed"].iloc[0]] if "seed" in table and len(table) else table
