"""`candidates`: many candidates of one user, whose columns, and the context's, are sent and computed once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.encoder import FeatureEncoder, stacked
from htlnet_tf.encoding.layout import EmbeddingLayout
from htlnet_tf.export.signatures.serving_default import ServingDefault
from htlnet_tf.export.signatures.signature import Arrays, Expected, Question, Scores, Traced, expected_scores, named
from htlnet_tf.layers.input_blocks import Block, InputBlocks
from htlnet_tf.layers.pooling import FieldPooling
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.schema import Schema
from htlnet_tf.scoring.scores import scores_of_outputs

_USERS = 4
_ROWS_TOGETHER = 4096  # of several users, which the trained model scores at once


class Candidates(ServingDefault):
    """Columns of group user and context [1], of group item [N]; left out where no column is of group item."""

    name = "candidates"

    def is_offered(self, schema: Schema) -> bool:
        """Whether there is a column that differs between candidates."""
        return bool(item_columns(schema))

    def spec(self, encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
        """One value of the user's and the context's columns, one per candidate of the others."""
        return candidate_specs(encoder)

    def outputs(self, model: ScoringModel, traced: Traced, inputs: Mapping[str, tf.Tensor]) -> Scores:
        """Scores of the candidates."""
        return named(traced.of_candidates(dict(inputs)))

    def feeds(self, encoder: FeatureEncoder, raw: Arrays, user: int = 0) -> dict[str, np.ndarray]:
        """All rows' items as candidates of the user and context of row `user`."""
        items = item_columns(encoder.schema)
        chosen = {name: values if name in items else values[user : user + 1] for name, values in raw.items()}
        return super().feeds(encoder, chosen)

    def questions(self, model: ScoringModel, raw: Arrays, scores: Mapping[str, Expected]) -> Iterator[Question]:
        """The items of all rows for the users of some, the first of which have missing and unknown values."""
        count = len(next(iter(raw.values())))
        spread = {i * count // _USERS for i in range(_USERS)}
        users = sorted(spread | set(range(min(count, _USERS))))
        together = max(1, _ROWS_TOGETHER // max(count, 1))
        for start in range(0, len(users), together):
            chosen = users[start : start + together]
            repeated = [of_user(model.encoder, raw, user) for user in chosen]
            due = expected_scores(model, {name: np.concatenate([rows[name] for rows in repeated]) for name in raw})
            for position, user in enumerate(chosen):
                rows = np.arange(position * count, (position + 1) * count)
                answer = {name: output.of_rows(rows) for name, output in due.items()}
                yield Question(self.feeds(model.encoder, raw, user), answer)


def of_user(encoder: FeatureEncoder, raw: Arrays, user: int) -> dict[str, np.ndarray]:
    """The rows that a request stands for: the items of all rows, user and context of one."""
    items = item_columns(encoder.schema)
    return {
        name: values if name in items else np.repeat(values[user : user + 1], len(values))
        for name, values in raw.items()
    }


def candidate_specs(encoder: FeatureEncoder) -> dict[str, tf.TensorSpec]:
    """The raw columns by name, in schema order: shape [1] of group user and context, [None] of group item."""
    items = item_columns(encoder.schema)
    return {
        name: tf.TensorSpec([None] if name in items else [1], spec.dtype, name=spec.name)
        for name, spec in encoder.raw_specs().items()
    }


def item_columns(schema: Schema) -> frozenset[str]:
    """The raw columns of group item, of which a request for candidates has one value per candidate."""
    return frozenset(f.name for f in schema.inputs if f.group == "item")


def candidate_scores(model: ScoringModel, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Scores N candidates of one user in one context.

    Look-up, hashing, embedding and pooling of the user's and the context's fields are done on one row, and so is their
    part of the towers' first products: W e_n = W_shared e_shared + W_item e_n,item. Where something else than a dense
    layer reads the fields, the one row is repeated. A cross of a shared feature and an item's has a row per candidate.

    Args:
      model: A trained model.
      raw: By feature name, shape [1] of group user and context, [N] of group item; at least one of the latter.

    Returns:
      By output, see `htlnet_tf.scoring.scores.final_scores`.
    """
    encoder, schema = model.encoder, model.schema
    items = item_columns(schema)
    count = tf.shape(next(raw[name] for name in raw if name in items))[0]
    rows = encoder.field_rows(raw)
    shared = _shared_fields(encoder)
    numbers = stacked([tf.broadcast_to(number, [count]) for number in encoder.numbers(raw, rows)], count)
    outputs = [
        m.tower_outputs(embed_fields(encoder.layout, m.embedding.tables, rows, shared, count), {"numeric": numbers})
        for m in model.members
    ]

    def ids(field: str) -> tf.Tensor:
        return tf.broadcast_to(rows[field], [count, rows[field].shape[1]])

    return scores_of_outputs(model, outputs, ids)


def _shared_fields(encoder: FeatureEncoder) -> frozenset[str]:
    """The embedded fields that depend on the user and the context alone."""
    items = item_columns(encoder.schema)
    alone = [kind for kind in encoder.kinds.values() if not items & set(kind.columns)]
    return frozenset(field.name for kind in alone for field in kind.fields())


def embed_fields(
    layout: EmbeddingLayout,
    tables: Sequence[tf.Tensor | tf.Variable],
    rows: Mapping[str, tf.Tensor],
    shared: frozenset[str],
    count: tf.Tensor,
) -> InputBlocks:
    """What a model's embedding gives, float32 [N, width], in blocks of neighbouring fields of one side.

    Args:
      layout: The encoder's.
      tables: float32 [rows, dim] each, as the layout has them.
      rows: By field, int32 [1, slots] if shared, else [N, slots].
      shared: The fields that all N rows have one row of.
      count: N, an int32 scalar.
    """
    parts: list[Block] = []
    for table, variable in zip(layout.tables, tables, strict=True):
        names = [layout.fields[i].name for i in table.fields]
        pooled: dict[bool, tf.Tensor] = {}
        for is_shared in (True, False):
            fields = [layout.fields[i] for i in table.fields if (layout.fields[i].name in shared) == is_shared]
            if fields:
                ids = tf.concat([rows[field.name] for field in fields], axis=1) - table.start
                pooling = FieldPooling([f.slots for f in fields], [f.pooling for f in fields])
                vectors = pooling.pool(tf.gather(variable, ids), ids)
                pooled[is_shared] = tf.reshape(vectors, [-1, len(fields) * variable.shape[1]])
        parts += _in_order(pooled, [name in shared for name in names], int(variable.shape[1]))
    return InputBlocks(parts, count)


def _in_order(pooled: Mapping[bool, tf.Tensor], is_shared: Sequence[bool], dim: int) -> list[Block]:
    """Runs of neighbouring fields of one side, in the table's order."""
    starts = {True: 0, False: 0}
    runs = []
    for side, members in itertools.groupby(is_shared):
        start = starts[side]
        starts[side] = end = start + len(list(members)) * dim
        runs.append(Block(pooled[side][:, start:end], one_row=side))
    return runs
