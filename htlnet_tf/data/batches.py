"""Rows that arrive in batches, as a stream."""

from __future__ import annotations

from htlnet_tf.data.bad_rows import OnBadRows
from htlnet_tf.data.sources.batch_source import Batches, BatchSource
from htlnet_tf.data.stream import Stream
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Schema


def stream_batches(batches: Batches, schema: Schema, *, on_bad_rows: OnBadRows = "error") -> Stream:
    """A stream over frames or Arrow batches that a program gives, with the checks that files get.

    Whatever takes the stream of `open_stream` takes it. A function can be read again and again, as the fit of an
    encoder, every epoch and `fit`'s end do; it should give the same rows each time. An iterator is read once: fit the
    encoder on other rows before, train one epoch, and end with `model.fit_level(dataset)` on rows that are kept, for
    `fit` itself has none left.

    Args:
      batches: A function that gives a new iterator over `DataFrame`, `pyarrow.RecordBatch` or `pyarrow.Table`, or a
        list of these; or such an iterator.
      schema: The declared columns; others are left out.
      on_bad_rows: As for `Stream`; a row is named by its batch and its number there, both from 0.

    Raises:
      InputError: `batches` is none of these, or `on_bad_rows` is unknown. What is wrong with a batch shows when it is
        read.

    Example:
      >>> rows = stream_batches(lambda: pyarrow.parquet.ParquetFile("day.parquet").iter_batches(), schema)
      >>> encoder = FeatureEncoder.fit(schema, rows)
    """
    if on_bad_rows not in ("error", "skip"):
        raise InputError(f"on_bad_rows must be 'error' or 'skip', received {on_bad_rows!r}")
    return Stream(BatchSource(batches), schema, on_bad_rows)
