"""Whether the differences between a model and the others are more than the seeds' spread."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import ttest_rel

from htlnet_tf.judging.reports import Report, metric_named

LEVEL = 0.05


def paired_tests(
    reports: Mapping[str, Mapping[int, Report]], subject: str, references: Collection[str] = ()
) -> pd.DataFrame:
    """Student's paired t-test, two-sided, of a model against every other one, per target and metric.

    A pair are the runs of one seed. Metrics without a better direction, or in the target's unit, are left out. The
    p-values are those of single tests, not corrected for their number.

    Args:
      reports: By model, by seed.
      subject: The model that is tested.
      references: Which of them are references, a group of their own among the others.

    Returns:
      A row per target, metric and other model that has it: `target`, `metric`, `subject`, `other`, `difference` (mean
      of subject minus other over the pairs), `p_value`, `n` (pairs), `best_other` (whether the other has the best mean
      of its group), `is_reference` (which group that is). The p-value is NaN for fewer than two pairs, 1 if all
      differences are 0, 0 if they are all equal.
    """
    rows = []
    others = [name for name in reports if name != subject]
    known = {name: {(row.target, row.metric) for row in _first(reports[name]).rows} for name in others}
    shown = [row for row in _first(reports[subject]).rows if metric_named(row.metric).is_compared]
    for target, _, metric, *_ in shown:
        having = [name for name in others if (target, metric) in known[name]]
        means = {name: float(np.mean([r.value(target, metric) for r in reports[name].values()])) for name in having}
        best: dict[bool, tuple[str, float]] = {}
        for name in having:
            group, score = name in references, _rank(metric_named(metric).better * means[name])
            if group not in best or score > best[group][1]:
                best[group] = (name, score)
        for name in having:
            seeds = [seed for seed in reports[subject] if seed in reports[name]]
            ours, theirs = (
                np.array([reports[model][seed].value(target, metric) for seed in seeds]) for model in (subject, name)
            )
            difference = float(np.mean(ours - theirs)) if seeds else float("nan")
            p_value = paired_p_value(ours, theirs)
            is_best = name == best[name in references][0]
            rows.append((target, metric, subject, name, difference, p_value, len(seeds), is_best, name in references))
    names = ["target", "metric", "subject", "other", "difference", "p_value", "n", "best_other", "is_reference"]
    return pd.DataFrame(rows, columns=names)


def paired_p_value(ours: Sequence[float] | np.ndarray, theirs: Sequence[float] | np.ndarray) -> float:
    """The p-value of the paired t-test; see `paired_tests` for what is not defined."""
    differences = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if differences.size < 2 or not np.isfinite(differences).all():
        return float("nan")
    if np.ptp(differences) == 0.0:
        return 1.0 if differences[0] == 0.0 else 0.0
    return float(ttest_rel(ours, theirs).pvalue)


def _first(reports: Mapping[int, Report]) -> Report:
    return next(iter(reports.values()))


def _rank(score: float) -> float:
    return -np.inf if np.isnan(score) else score
