"""Several shared embedding tables, one per width, behind the interface of one."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from htlnet_tf.encoding.layout import EmbeddingLayout
from htlnet_tf.layers.shared_embedding import SharedEmbedding, TouchedRows


def shared_embedding(layout: EmbeddingLayout, dim: int) -> SharedEmbedding | EmbeddingTables:
    """The layer for a layout: a `SharedEmbedding` where there is one table, else `EmbeddingTables`.

    Args:
      layout: Fields and tables.
      dim: The model's `embedding_dim`, the width of tables that declare none.
    """
    return _part(layout, 0, dim, "shared_embedding") if len(layout.tables) == 1 else EmbeddingTables(layout, dim)


class EmbeddingTables(tf.keras.layers.Layer):
    """Shared embedding tables of several widths.

    e = concat(e_1 .. e_F) goes table by table in the layout's order, and field by field within a table; its width is
    the sum of the fields' widths. Each table keeps its own touched rows and gets its own sparse gradient. The Gram
    matrix is that of all shared parameters that are trained: with G_t = concat_g(G_t,g), M = sum_g M_g.

    Args:
      layout: Fields and tables.
      dim: The model's `embedding_dim`, the width of tables that declare none.

    Example:
      >>> embedding = EmbeddingTables(encoder.layout, 10)
      >>> embedding(encoder(raw)["ids"]).shape
      TensorShape([1, 66])

    References:
      HTLNet (arXiv:2403.17442), section 3.2, shared embedding.
    """

    def __init__(self, layout: EmbeddingLayout, dim: int, *, name: str = "shared_embedding") -> None:
        super().__init__(name=name)
        # A variable's path in a checkpoint is its table's position in the layout.
        self.parts = [_part(layout, g, dim, f"table_{g}") for g in range(len(layout.tables))]
        self._starts = tuple(table.start for table in layout.tables)
        self._columns = tuple(layout.columns(table) for table in layout.tables)

    @property
    def width(self) -> int:
        """The width of what `call` returns."""
        return sum(part.width for part in self.parts)

    @property
    def tables(self) -> tuple[tf.Variable, ...]:
        """The shared parameters: one table per width, in the layout's order, or its shards in its place."""
        return tuple(table for part in self.parts for table in part.tables)

    @property
    def trained_tables(self) -> tuple[tf.Variable, ...]:
        """Those of `tables` that are trained; the layer and each of its `parts` can be frozen, `trainable = False`."""
        return tuple(table for part in self._trained for table in part.tables)

    @property
    def _trained(self) -> list[SharedEmbedding]:
        return [part for part in self.parts if self.trainable and part.trainable]

    @property
    def portable(self) -> bool:
        """Whether `row_gradients` keeps to operations that XLA knows; `compile(jit_compile=True)` sets it."""
        return all(part.portable for part in self.parts)

    @portable.setter
    def portable(self, value: bool) -> None:
        for part in self.parts:
            part.portable = value

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        """Looks up and pools: int32 [B, S] -> float32 [B, width]."""
        return tf.concat([part(own) for part, own in zip(self.parts, self._own_ids(ids), strict=True)], axis=1)

    def touched(self, ids: tf.Tensor) -> tuple[TouchedRows, ...]:
        """Finds and reads the rows that a batch touches, each once, per table."""
        return tuple(part.touched(own) for part, own in zip(self.parts, self._own_ids(ids), strict=True))

    def embed(self, touched: Sequence[TouchedRows]) -> tf.Tensor:
        """As `call`, from rows that have been read already: float32 [B, width]."""
        return tf.concat([part.embed(rows) for part, rows in zip(self.parts, touched, strict=True)], axis=1)

    def row_gradients(self, touched: Sequence[TouchedRows], gradients: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Carries gradients at the output back to the touched rows, summed over equal ids.

        Args:
          touched: What `embed` was called with.
          gradients: Per task, float32 [B, width], the gradient of its loss at the output.

        Returns:
          Per trained table, float32 [T, U * d]: per task, the gradient of its loss at the touched rows, flattened.
        """
        rows, start = [], 0
        for part, own in zip(self.parts, touched, strict=True):
            end = start + part.width
            if part in self._trained:
                rows.append(part.row_gradients(own, [gradient[:, start:end] for gradient in gradients]))
            start = end
        return tuple(rows)

    def over_replicas(
        self, touched: Sequence[TouchedRows], gradients: Sequence[tf.Tensor]
    ) -> tuple[tuple[TouchedRows, ...], tuple[tf.Tensor, ...]]:
        """Sums rows and their gradients over the replicas of a step, see `SharedEmbedding.over_replicas`.

        Args:
          touched: What `embed` was called with.
          gradients: What `row_gradients` returned.
        """
        left = iter(gradients)
        rows, summed = [], []
        for part, own in zip(self.parts, touched, strict=True):
            if part in self._trained:
                own, of_part = part.over_replicas(own, next(left))  # noqa: PLW2901
                summed.append(of_part)
            rows.append(own)
        return tuple(rows), tuple(summed)

    @staticmethod
    def gram(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """M[i, j] = <G_i, G_j> over the touched rows of the trained tables: each float32 [T, U * d] -> [T, T]."""
        return tf.add_n([SharedEmbedding.gram(own) for own in gradients])

    def combine(
        self,
        touched: Sequence[TouchedRows],
        gradients: Sequence[tf.Tensor],
        coefficients: tf.Tensor | None,
        *,
        l2: float = 0.0,
    ) -> list[tf.IndexedSlices]:
        """sum_t c_t G_t, and the gradient of l * ||row||^2 for each touched row.

        Args:
          touched: What `embed` was called with.
          gradients: What `row_gradients` returned.
          coefficients: float32 [T]. None: `gradients` are those of one loss, which are taken as they are.
          l2: The strength l.

        Returns:
          The gradients of `trained_tables`, in their order; the indices of each are distinct.
        """
        trained = [(part, rows) for part, rows in zip(self.parts, touched, strict=True) if part in self._trained]
        parts = [(part, rows, own) for (part, rows), own in zip(trained, gradients, strict=True)]
        return [slices for part, rows, own in parts for slices in part.combine(rows, own, coefficients, l2=l2)]

    def _own_ids(self, ids: tf.Tensor) -> list[tf.Tensor]:
        """Per table, the rows that its fields look up, counted from its own first row: int32 [B, S_g]."""
        own = []
        for start, columns in zip(self._starts, self._columns, strict=True):
            first, last = columns[0], columns[-1]
            adjacent = len(columns) == last + 1 - first
            own.append((ids[:, first : last + 1] if adjacent else tf.gather(ids, columns, axis=1)) - start)
        return own


def _part(layout: EmbeddingLayout, index: int, dim: int, name: str) -> SharedEmbedding:
    table = layout.tables[index]
    fields = [layout.fields[i] for i in table.fields]
    width = table.dim or dim
    return SharedEmbedding(table.rows, [f.slots for f in fields], width, pooling=[f.pooling for f in fields], name=name)
