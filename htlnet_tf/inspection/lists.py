"""Whether text holds several values in a row, and what separates them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The share of pieces that must recur in another value, by separator. Tags recur; the halves of "[10,50)" or of a name
# do not. Words of ordinary names recur now and then ("low active", "full active"), so a space needs more.
MIN_RECURRING = {",": 0.6, "|": 0.6, ";": 0.6, " ": 0.8}
# A separator that fewer rows have than this is an accident of a few values.
MIN_SHARE_WITH_SEPARATOR = 0.01
# The share of rows whose lists must be kept whole.
KEPT_WHOLE = 0.95


@dataclass(frozen=True)
class Lists:
    """How text holds several values.

    Args:
      separator: Between the values.
      pieces: Distinct values, among the texts that were counted.
      mean_length: Mean number of values per row.
      length: A number of values that 95 % of the rows do not exceed.
      longest: The greatest number of values of a row.
    """

    separator: str
    pieces: int
    mean_length: float
    length: int
    longest: int


def find_separator(counts: Mapping[str, int]) -> str | None:
    """The separator of a multi-valued column; None if its values are single.

    Args:
      counts: Rows by text.
    """
    best: tuple[int, str] | None = None
    total = sum(counts.values())
    for separator, min_recurring in MIN_RECURRING.items():
        having = [text for text in counts if len(_pieces(text, separator)) > 1]
        rows = sum(counts[text] for text in having)
        if len(having) < 2 or rows < MIN_SHARE_WITH_SEPARATOR * total:
            continue
        appearances = Counter(piece for text in counts for piece in set(_pieces(text, separator)))
        recurring = sum(count for count in appearances.values() if count > 1)
        if recurring >= min_recurring * sum(appearances.values()) and (best is None or rows > best[0]):
            best = rows, separator
    return None if best is None else best[1]


def measure_lists(counts: Mapping[str, int], separator: str) -> Lists:
    """Lengths and number of values of a multi-valued column.

    Args:
      counts: Rows by text.
      separator: Between the values.
    """
    lengths = np.array([max(1, len(_pieces(text, separator))) for text in counts])
    rows = np.array(list(counts.values()))
    order = np.argsort(lengths)
    within = np.cumsum(rows[order]) >= KEPT_WHOLE * rows.sum()
    return Lists(
        separator=separator,
        pieces=len({piece for text in counts for piece in _pieces(text, separator)}),
        mean_length=float(np.average(lengths, weights=rows)),
        length=int(lengths[order][np.argmax(within)]),
        longest=int(lengths.max()),
    )


def _pieces(text: str, separator: str) -> list[str]:
    return [piece for piece in (p.strip() for p in text.split(separator)) if piece]
