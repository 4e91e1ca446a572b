"""Small text tables and numbers for people."""

from __future__ import annotations

from collections.abc import Sequence

from htlnet_tf import text_tables

WIDTH = 120  # of the whole report, in characters
BAR_WIDTH = 20


def aligned(table: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """A table below a heading of the report."""
    return text_tables.aligned(table, left=left, indent="  ")


def percent(share: float | None) -> str:
    """`"45.1 %"`; 0 and 1 only where they are exact, so that a rare event does not look like none."""
    if share is None:
        return "-"
    if share in (0, 1):
        return f"{share * 100:g} %"
    if share < 0.0001:
        return "<0.01 %"
    if share > 0.9995:
        return ">99.9 %"
    return f"{share * 100:.2f} %" if share < 0.01 else f"{share * 100:.1f} %"


def number(value: float | None) -> str:
    """Whole numbers in full, others with four significant digits; very large ones by their power of ten."""
    if value is None:
        return "-"
    if abs(value) >= 1e15:
        return f"{value:.4g}"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def bar(value: float, greatest: float) -> str:
    """A bar in proportion, at least a sliver of anything above 0."""
    eighths = round(8 * BAR_WIDTH * value / greatest) if greatest else 0
    if value:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]


def shortened(text: str, width: int) -> str:
    """At most `width` characters on one line."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
