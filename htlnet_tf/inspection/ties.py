"""Columns that are tied to a target: it never happens without them, or always with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from htlnet_tf.inspection.leakage import MIN_ROWS
from htlnet_tf.inspection.profile import ColumnProfile
from htlnet_tf.inspection.sample import Sample
from htlnet_tf.inspection.values import MISSING_CODE
from htlnet_tf.schema import Binary, Continuous, Multiclass

# Rows to expect by chance in a cell that is empty: none in 20 expected has a probability of 2e-9, and of 1 % where what
# is known before the impression makes the target five times rarer. A number's zero is a weaker sign than a flag's.
_MIN_EXPECTED, _MIN_EXPECTED_OF_NUMBERS = MIN_ROWS, 2.5 * MIN_ROWS


@dataclass(frozen=True)
class Tie:
    """A column that decides a target in part of the rows.

    Args:
      column: The column.
      target: The target.
      state: What the column is in those rows: `"0"`, `"1"`, `"above 0"`, `"missing"`, `"present"`, or a value.
      happens: Whether the target always happens there; else it never does.
      rows: Such rows of the sample.
    """

    column: str
    target: str
    state: str
    happens: bool
    rows: int

    @property
    def reason(self) -> str:
        """Why the column is no feature, for people."""
        if self.happens:
            return f"{self.target} always happens where it is {self.state} ({self.rows:,} rows): an outcome"
        if self.state in ("0", "missing"):
            return (
                f"{self.target} never happens without it ({self.rows:,} rows): an earlier step, to be named in "
                "--targets, or a leak"
            )
        return f"{self.target} never happens where it is {self.state} ({self.rows:,} rows): an outcome or a rule"


def find_ties(
    sample: Sample,
    profiles: Mapping[str, ColumnProfile],
    columns: Iterable[str],
    targets: Sequence[Binary | Multiclass | Continuous],
) -> dict[str, Tie]:
    """The strongest tie of each column.

    Looked at are columns of two values, numbers that are 0 or above, and whether a value is missing.

    Args:
      sample: Rows of the stream.
      profiles: Of all columns.
      columns: Those to try.
      targets: Multiclass ones are not tried; the core happens where it is not 0.
    """
    ties: dict[str, Tie] = {}
    labels = {t.source: sample.numbers(t.source) for t in targets if not isinstance(t, Multiclass)}
    steps = {target.source for target in targets if isinstance(target, Binary)}
    for name in columns:
        found = [
            tie
            for state, inside, among, forms in _states(profiles[name], sample)
            for target, label in labels.items()
            if (tie := _tie(name, target, state, inside, among & np.isfinite(label), label, forms)) is not None
        ]
        if found:
            ties[name] = _strongest(found, steps)
    return ties


def _strongest(found: Sequence[Tie], steps: Collection[str]) -> Tie:
    """Of most rows; of equal ones, what comes before a target is told by the first, what follows by the last step."""
    rows = max(tie.rows for tie in found)
    equal = [tie for tie in found if tie.rows == rows]
    first = next((tie for tie in equal if not tie.happens), None)
    return first or next((tie for tie in reversed(equal) if tie.target in steps), equal[-1])


_Form = Literal["never", "always"]


def _states(profile: ColumnProfile, sample: Sample) -> Iterator[tuple[str, np.ndarray, np.ndarray, dict[_Form, float]]]:
    """States of a column: its name, the rows in it and the rows it is told from, and which ties count from how many
    expected rows on.
    """
    codes = sample.codes(profile.name)
    missing = codes == MISSING_CODE
    everything = np.ones(len(codes), bool)
    both: dict[_Form, float] = {"never": _MIN_EXPECTED, "always": _MIN_EXPECTED}
    if profile.missing:
        yield "present", ~missing, everything, {"always": _MIN_EXPECTED}
        # Who is not logged in has no id and cannot buy; a time or a number that is not there is another matter.
        if profile.kinds <= {"time", "number", "duration", "bool"}:
            yield "missing", missing, everything, {"never": _MIN_EXPECTED}
    if profile.is_number and profile.minimum is not None and profile.minimum >= 0 and profile.zeros:
        numbers = sample.numbers(profile.name)
        if profile.distinct == 2:
            yield "0", numbers == 0, ~missing, both
            yield f"{profile.maximum:g}", numbers > 0, ~missing, both
        else:
            yield "0", numbers == 0, ~missing, {"never": _MIN_EXPECTED_OF_NUMBERS}
            yield "above 0", numbers > 0, ~missing, {"always": _MIN_EXPECTED_OF_NUMBERS}
    elif profile.distinct == 2:
        present = codes[~missing]
        for value in np.unique(present)[:2]:
            yield _name_of(profile, float((codes == value).mean())), codes == value, ~missing, both


def _name_of(profile: ColumnProfile, share: float) -> str:
    """The value that occurs about so often: the sample keeps hashes of text, not the text."""
    return repr(min(profile.counts, key=lambda value: abs(profile.counts[value] - share * profile.rows)))


def _tie(
    name: str,
    target: str,
    state: str,
    inside: np.ndarray,
    among: np.ndarray,
    label: np.ndarray,
    forms: Mapping[_Form, float],
) -> Tie | None:
    happened = among & (label != 0)
    rows, known = int((inside & among).sum()), int(among.sum())
    if rows < MIN_ROWS or known - rows < MIN_ROWS:
        return None
    yes, no = int(happened.sum()), known - int(happened.sum())
    both = int((inside & happened).sum())
    if "never" in forms and not both and rows * yes >= forms["never"] * known:
        return Tie(name, target, state, False, rows)
    if "always" in forms and both == rows and rows * no >= forms["always"] * known:
        return Tie(name, target, state, True, rows)
    return None
