"""Files in which columns are absent, as the labels of rows whose outcome nobody knows yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from htlnet_tf.data.sources.source import Chunk, Source


class WithAbsentColumns:
    """A source that offers columns beside those of its files, each with one value in all rows.

    Args:
      source: The files.
      absent: By column, its value.
    """

    def __init__(self, source: Source, absent: Mapping[str, float]) -> None:
        self._source, self._absent = source, dict(absent)

    @property
    def files(self) -> tuple[str, ...]:
        """Paths."""
        return self._source.files

    def chunks(self, columns: Sequence[str] | None = None, **options: Any) -> Iterator[Chunk]:
        """As `Source.chunks`."""
        names = [*self._source.columns, *self._absent] if columns is None else list(columns)
        for chunk in self._source.chunks([name for name in names if name not in self._absent], **options):
            others = {name: value for name, value in self._absent.items() if name in names}
            yield chunk._replace(frame=chunk.frame.assign(**others)[names])
