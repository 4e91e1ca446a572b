"""Raw rows -> scores with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.columns import require_columns
from htlnet_tf.data.raw_features import Distinct, distinct_values, raw_numbers
from htlnet_tf.data.score_frame import score_frame
from htlnet_tf.errors import InputError
from htlnet_tf.manifest import require_intact
from htlnet_tf.schema import Categorical, Schema
from htlnet_tf.serving.clients.rows import Rows, columns_of
from htlnet_tf.serving.onnx import folder
from htlnet_tf.serving.onnx.lookups import Find, HashedRows, PairRows, ValueRows, in_buckets, in_table
from htlnet_tf.serving.onnx.lookups import rows_of as value_rows
from htlnet_tf.serving.onnx.lookups import rows_of_pairs as pair_rows


class OnnxScorer:
    """Scores raw rows without TensorFlow, from the folder that `htlnet export --format onnx` writes.

    It needs onnxruntime, numpy, pandas, pyarrow, pydantic and PyYAML. One may be used by several threads at once.

    Args:
      path: The version's folder; or that of a model, `MODELS/htlnet`, of which the latest version is taken.
      threads: Of ONNX Runtime, for one call.

    Attributes:
      path: The version's folder.
      schema: What the model was trained on, with everything settled that was left open.

    Raises:
      InputError: There is no such model, a file of it is missing or damaged, `threads` is below 1, or onnxruntime is
        not installed.

    Example:
      >>> scorer = htl.serving.OnnxScorer("models/htlnet")
      >>> scorer.predict({"user_id": ["u1", "u1"], "item_id": [3, 4]})["spend"]
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        if threads < 1:
            raise InputError(f"threads must be at least 1, received {threads}")
        self.path = folder.latest(path)
        require_intact(self.path)
        document = folder.read_document(self.path)
        self.schema = Schema.from_yaml(self.path / folder.SCHEMA_FILE)
        self._session = _session(self.path / folder.GRAPH_FILE, threads)
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        features = {feature.name: feature for feature in self.schema.inputs}
        self._values: dict[str, tuple[Categorical, ValueRows | HashedRows, Find]] = {}
        self._pairs: list[tuple[PairRows, tuple[np.ndarray, ...]]] = []
        for lookup in document.lookups:
            if isinstance(lookup, PairRows):
                tables = [folder.read_table(self.path / name, ("number",)) for name in lookup.numbers or ()]
                self._pairs.append((lookup, tuple(table["number"].to_numpy(np.int64) for table in tables)))
                continue
            feature = features[lookup.feature]
            assert isinstance(feature, Categorical)
            self._values[lookup.feature] = feature, lookup, self._find(feature, lookup)

    def predict(self, rows: Rows, *, batch_size: int = 8192) -> pd.DataFrame:
        """Scores raw rows; the same as `htlnet_tf.predict` gives, and as the servable answers.

        Args:
          rows: A DataFrame (further columns are ignored), a list of dicts, or a dict of columns, as the table calls
            them.
          batch_size: Rows per call of ONNX Runtime.

        Returns:
          One row per input row, with its index, float32; columns as of `htlnet_tf.predict`.

        Raises:
          InputError: There are no rows, or a column is missing or holds a value that its kind does not allow; names
            column, row and value.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, received {batch_size}")
        frame = rows if isinstance(rows, pd.DataFrame) else self._framed(rows)
        require_columns(frame, (f.source for f in self.schema.inputs), purpose="features")
        columns: dict[str, np.ndarray | Distinct] = {}
        for feature in self.schema.inputs:
            column = frame[feature.source]
            if isinstance(feature, Categorical):
                columns[feature.name] = distinct_values(column, feature)
            else:
                columns[feature.name] = raw_numbers(column, feature, decimal=self.schema.decimal)
        return score_frame(self.schema, self._scores(columns, len(frame), batch_size), frame.index)

    def scores(self, raw: Mapping[str, np.ndarray], *, batch_size: int = 8192) -> dict[str, np.ndarray]:
        """Scores of rows in the form that requests to a servable have.

        Args:
          raw: By feature name, [N]: object arrays of `str`, int64, or float32, as `raw_features` gives them.
          batch_size: As of `predict`.

        Returns:
          By output, float32 [N] or [N, K], see `Schema.outputs`.
        """
        columns: dict[str, np.ndarray | Distinct] = dict(raw)
        for name in self._values:
            codes, values = pd.factorize(raw[name])
            columns[name] = Distinct(codes, np.asarray(values))
        return self._scores(columns, len(next(iter(raw.values()))), batch_size)

    def _framed(self, rows: Rows) -> pd.DataFrame:
        columns, index = columns_of(rows, [f.source for f in self.schema.inputs], frozenset(self.schema.columns))
        return pd.DataFrame({name: _series(values) for name, values in columns.items()}, index=index)

    def _scores(
        self, columns: Mapping[str, np.ndarray | Distinct], count: int, batch_size: int
    ) -> dict[str, np.ndarray]:
        feeds: dict[str, np.ndarray] = {}
        for name, column in columns.items():
            if isinstance(column, Distinct):
                feeds[name] = value_rows(column.values, *self._values[name])[column.codes]
            else:
                feeds[name] = column
        for lookup, numbers in self._pairs:
            feeds[lookup.feature] = pair_rows(lookup, numbers, feeds)
        names = list(self.schema.outputs)
        parts = []
        for start in range(0, count, batch_size):
            part = {name: feeds[name][start : start + batch_size] for name in self._inputs}
            parts.append(self._session.run(names, part))
        return {name: np.concatenate(found) for name, found in zip(names, zip(*parts, strict=True), strict=True)}

    def _find(self, feature: Categorical, lookup: ValueRows | HashedRows) -> Find:
        if isinstance(lookup, HashedRows):
            return in_buckets(lookup, feature)
        table = folder.read_table(self.path / lookup.table, ("value", "row"))
        return in_table(table["value"], table["row"].to_numpy(np.int32), lookup.unknown)


def _series(values: list[Any]) -> pd.Series:
    """Values as they are: whole numbers beside a gap stay whole, and lists are values of their own."""
    column = pd.Series(values, dtype=object)
    has_lists = any(isinstance(value, (list, tuple, np.ndarray)) for value in values)
    return column if has_lists else column.infer_objects()


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "OnnxScorer needs onnxruntime, which is not installed: pip install onnxruntime (or 'htlnet-tf[onnx]')"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no base class for its errors
        raise InputError(f"'{path}' cannot be loaded by onnxruntime {onnxruntime.__version__}: {error}") from error
