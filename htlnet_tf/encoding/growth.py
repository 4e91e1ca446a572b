"""An encoder after a further day: new values have rows, vanished ones have none, and the statistics have moved on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import require_columns
from htlnet_tf.encoding.encoder import FeatureEncoder
from htlnet_tf.encoding.history import TrainingHistory, frames_of
from htlnet_tf.encoding.kinds import kind_of, kinds_of
from htlnet_tf.encoding.kinds.kind import Day, Kind, Origins
from htlnet_tf.encoding.tally import Aging
from htlnet_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Growth:
    """An encoder and what a further day has made of it.

    Attributes:
      before: As it was.
      learning: With the values of the day, but history statistics of the days before alone, as who scores the day's
        rows sees them: the encoder of rows to learn from, in which none sees its own label.
      encoder: With the day in the statistics too, for what comes after the day. Its rows are those of `learning`.
      added: By feature with a vocabulary, how many values have got a row.
      dropped: Likewise, how many have lost theirs.
      num_rows: Of the day.
    """

    before: FeatureEncoder
    learning: FeatureEncoder
    encoder: FeatureEncoder
    added: Mapping[str, int]
    dropped: Mapping[str, int]
    num_rows: int
    origins: Mapping[str, Origins] = dataclasses.field(repr=False)

    def tables(self) -> list[Origins]:
        """Per table of the layout, where each of its rows was in the same table before."""
        return [self._table(position) for position in range(len(self.encoder.layout.tables))]

    def _table(self, position: int) -> Origins:
        before, after = (encoder.layout.tables[position] for encoder in (self.before, self.encoder))
        rows, is_new = np.zeros(after.rows, np.int64), np.zeros(after.rows, bool)  # the first is padding and stays
        for name in (self.encoder.layout.fields[i].name for i in after.fields):
            origins, block, old = self.origins[name], self.encoder.blocks[name], self.before.blocks[name]
            there = slice(block.start - after.start, block.end - after.start)
            rows[there] = np.where(origins.rows < 0, -1, origins.rows + old.start - before.start)
            is_new[there] = origins.is_new
        return Origins(rows, is_new)


def grow(encoder: FeatureEncoder, rows: pd.DataFrame | Iterable[pd.DataFrame], aging: Aging | None = None) -> Growth:
    """Grows an encoder by the rows of a further day.

    Each kind of feature says itself how it grows, see `htlnet_tf.encoding.kinds`. Values are counted over all days, and
    get a row when they have reached `min_count`. What trained weights rely on stays: mean, deviation and bounds of
    numbers and of history statistics, and the statistics of the labels.

    Args:
      encoder: Fitted, or grown before.
      rows: The day: one frame, or a stream of frames that can be read again.
      aging: Which day it is, and how the days before count. None: the next one, and all days alike.

    Raises:
      InputError: There are no rows, a column is missing or holds a value its kind does not allow, or rows can be read
        only once and there are history statistics.
    """
    before, schema = encoder.statistics, encoder.schema
    aging = Aging(before.days + 1) if aging is None else aging
    frames = frames_of(rows) if schema.history else ([rows] if isinstance(rows, pd.DataFrame) else rows)
    counters = {f.name: kind_of(f).counter(f, schema) for f in schema.features}
    num_rows = 0
    for frame in frames:
        require_columns(frame, (f.source for f in schema.inputs), purpose="the day's rows")
        num_rows += len(frame)
        for counter in counters.values():
            counter.update(frame)
    if not num_rows:
        raise InputError("the day's rows: there are none")
    day = Day(counters, aging)
    learned = dict(before.learned)
    for stage in _stages(encoder.kinds):
        learned |= {kind.feature.name: kind.grown(day) for kind in stage}
        after = kinds_of(schema, learned)
        for kind in stage:
            for field in after[kind.feature.name].fields():
                day.origins[field.name] = after[kind.feature.name].origins(field.name, kind, day)
    counted = dataclasses.replace(before, learned=learned, num_rows=before.num_rows + num_rows, days=aging.day)
    learning = grown = FeatureEncoder(counted)
    if schema.history:
        history = TrainingHistory.count(learning, schema, frames)
        day.sums = {feature.name: history.sums(feature) for feature in schema.history}
        moved = {feature.name: encoder.kinds[feature.name].grown(day) for feature in schema.history}
        grown = FeatureEncoder(dataclasses.replace(counted, learned=learned | moved))
    added, dropped = {}, {}
    for name, kind in grown.kinds.items():
        was, now = encoder.kinds[name].num_values, kind.num_values
        if was is not None and now is not None:
            new = day.origins[name].is_new
            added[name] = int(np.sum(new[len(new) - now :]))  # a block ends with its values
            dropped[name] = was - (now - added[name])
    return Growth(encoder, learning, grown, added, dropped, num_rows, day.origins)


def _stages(kinds: Mapping[str, Kind[Any]]) -> list[list[Kind[Any]]]:
    """Those with a column of their own, those made of these, and those made of all others."""
    own = [kind for kind in kinds.values() if kind.dtype is not None]
    derived = [kind for kind in kinds.values() if kind.dtype is None]
    return [own, [k for k in derived if not k.comes_last], [k for k in derived if k.comes_last]]
