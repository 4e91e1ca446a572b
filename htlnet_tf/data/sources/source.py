"""Tables in files, read in chunks: CSV, Parquet, TFRecord."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
import pyarrow as pa

from htlnet_tf.data.sources import csv_source, parquet_source, tfrecord_source
from htlnet_tf.data.sources.arrow_columns import CategoryCache, Column, ListRule, Place, column_of, family, has_values
from htlnet_tf.data.sources.csv_source import OnBadLines, Report
from htlnet_tf.data.sources.listing import partition_column, partition_values, table_files, unambiguous
from htlnet_tf.data.sources.text_values import Kind, declared_kinds, inferred_kind, parse
from htlnet_tf.errors import InputError
from htlnet_tf.schema import Categorical, Schema


class Chunk(NamedTuple):
    """Consecutive rows of one file.

    Attributes:
      frame: The columns; its index holds the row numbers in the file, from 0, the header not counted.
      file: The path.
      first_row: The number of the first row.
    """

    frame: pd.DataFrame
    file: str
    first_row: int


class RowSource(Protocol):
    """Where the rows of a stream come from: in parts that can be told apart, in an order that stays."""

    @property
    def files(self) -> tuple[str, ...]:
        """What the parts are called."""

    def chunks(
        self,
        columns: Sequence[str] | None = None,
        *,
        schema: Schema | None = None,
        chunk_rows: int = 65_536,
        files: Sequence[int] | None = None,
        on_bad_lines: OnBadLines = "error",
        report: Report | None = None,
        piece: tuple[int, int] = (1, 0),
    ) -> Iterator[Chunk]:
        """The rows, see `Source.chunks`."""


class Source:
    """Files of one format, in order of their paths; columns have the names that the files give them.

    Folders named `key=value` in a path are columns of text, unless the file has the column itself.

    Args:
      files: Paths.
      format: `"csv"`, `"parquet"` or `"tfrecord"`.
      delimiter: Of CSV files.

    Attributes:
      format: As given.
    """

    def __init__(self, files: Sequence[str], format: str, delimiter: str = ",") -> None:
        self._files, self.format, self._delimiter = tuple(files), format, delimiter
        self._headers: dict[str, pa.Schema] = {}
        self._inferred: dict[str, Kind] | None = None
        self._types_known: dict[str, tuple[pa.DataType, str]] = {}
        self._valued: dict[tuple[str, str], bool] = {}
        self._without_values: set[tuple[str, str]] = set()

    @property
    def files(self) -> tuple[str, ...]:
        """Paths."""
        return self._files

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, as the first file has them; without those that several columns have, or that are empty.

        Raises:
          InputError: The file cannot be read.
        """
        return tuple(unambiguous(self._reference().names))

    def file_columns(self, file: str) -> tuple[str, ...]:
        """Names of the columns that a file itself has, without those of its folders.

        Raises:
          InputError: The file cannot be read.
        """
        return tuple(self._header(file).names)

    def fault(self, name: str) -> str | None:
        """Why no column can be read by a name in the first file; None if one can."""
        reference = next((file for file in self.files if len(self._offered(file))), self.files[0])
        return self._fault(reference, name)

    def check(self, columns: Sequence[str], files: Sequence[str] | None = None) -> None:
        """Checks by their headers that files offer columns, each of one kind in all of them.

        Args:
          columns: Names.
          files: Some of `files`; None: all.

        Raises:
          InputError: As of `chunks`, but for what is wrong with a file's rows.
        """
        for file in self.files if files is None else files:
            self._check(file, columns)

    def chunks(
        self,
        columns: Sequence[str] | None = None,
        *,
        schema: Schema | None = None,
        kinds: Mapping[str, Kind] | None = None,
        chunk_rows: int = 65_536,
        files: Sequence[int] | None = None,
        on_bad_lines: OnBadLines = "error",
        report: Report | None = None,
        piece: tuple[int, int] = (1, 0),
    ) -> Iterator[Chunk]:
        """Reads the rows, file by file.

        Text becomes `pd.Categorical`, the empty string being missing. Whole numbers become int64, or Int64 if some are
        missing, other numbers float64, times datetime64. A column of lists becomes text, its values joined by the
        separator that the schema declares; without a schema it stays lists.

        CSV and the names of folders have no types. There a categorical feature with dtype int64 holds whole numbers,
        one with another dtype, or none, text; targets, weights and numeric features hold numbers; timestamps numbers or
        ISO 8601 datetimes; any other column text. Without a schema the types are inferred from the first block of the
        first file with rows; digits with leading zeros are text. Where a value cannot be read so, the column is
        categorical in that chunk, that value being text. So is `007` or `+7` in a column of whole numbers, for it is
        another value than `7`; but blanks around a number do not count, nor do leading zeros in the name of a folder.
        NaN, nan, NULL, null, NA and None are missing except in text.

        Rows whose lists break a rule are left for the checks of values to find: where a listed value holds the
        separator, or a TFRecord file has several values of a feature without one, that value is a list in a column
        of objects.

        Args:
          columns: Names, in the order wanted; None: all columns.
          schema: Says the types of columns that have none and the separators of lists.
          kinds: In place of a schema, what text stands for by column; columns that are not named hold text.
          chunk_rows: At most so many rows per chunk.
          files: Positions in `files`, in the order to read them; None: all.
          on_bad_lines: What to do with lines of a CSV file that have too few or too many fields: `"error"`, or
            `"skip"`, which leaves their row numbers out of the frame's index.
          report: Called with file, row number and reason for each line skipped; it may be called before the chunk
            of the rows around it is given.
          piece: `(n, i)`: of each file only the i-th of n parts, which together are all of it: every n-th chunk; of a
            Parquet file that has row groups enough some of these, and nothing else of it is read.

        Raises:
          InputError: A file cannot be read, lacks a column, or has it in a type that the others do not have or that no
            column can be made of; names the file and, where there is one, column and row. Or all files were read
            (`files` is None) and have no rows.
        """
        if chunk_rows < 1:
            raise InputError(f"chunk_rows must be at least 1, received {chunk_rows}")
        names = list(self.columns if columns is None else columns)
        selected = [self.files[i] for i in (range(len(self.files)) if files is None else files)]
        self.check(names, selected)
        of_text = self._kinds(names, schema) if kinds is None else {name: kinds.get(name, "text") for name in names}
        rules = {name: self._list_rule(name, schema) for name in names}
        empty = True
        for file in selected:
            header, cache = self._header(file), CategoryCache()
            constants = {n: v for n, v in partition_values(file).items() if n in of_text and n not in header.names}
            # Where only columns of folders are wanted, any other one says how many rows there are.
            read = [name for name in names if name in header.names] or unambiguous(header.names)[:1]
            types = self._types({name: header.field(name).type for name in read}, of_text)
            groups = parquet_source.own_row_groups(file, *piece) if self.format == "parquet" and piece[0] > 1 else None
            for rows, batch in self._blocks(file, types, chunk_rows, on_bad_lines, report, groups):
                empty = empty and not len(rows)
                if groups is None and len(rows) and rows[0] // chunk_rows % piece[0] != piece[1]:
                    continue
                frame: dict[str, Column] = {}
                for name in names:
                    is_folder = name in constants
                    array = partition_column(constants[name], len(rows)) if is_folder else batch.column(name)
                    if (file, name) in self._without_values:
                        array = pa.nulls(len(rows))
                    if is_folder or self.format == "csv":
                        array = parse(array, of_text[name], padded=is_folder)
                    if isinstance(array, pa.Array):
                        array = column_of(array, Place(file, name, rows), rules[name], cache)
                    frame[name] = array
                if len(rows):
                    yield Chunk(pd.DataFrame(frame, index=rows, copy=False), file, int(rows[0]))
        if empty and files is None:
            raise InputError(f"no rows in {_shortened(self.files)}")

    def _fault(self, file: str, name: str) -> str | None:
        names = self._offered(file).names
        count = names.count(name)
        if count == 0 and not names:
            return "the file is empty"
        if count == 0:
            return f"column '{name}' is missing; the file has {_shortened(names)}{self._advice(file)}"
        return None if count == 1 else f"the names of columns must differ, but '{name}' appears {count} times"

    def _advice(self, file: str) -> str:
        """What may be wrong where a file lacks a column: another delimiter that fits better; else nothing."""
        if self.format != "csv" or len(self._header(file)) > 1:
            return ""
        fitting = csv_source.find_delimiter([file])
        is_wrong = fitting != self._delimiter
        return f"; its fields look separated by {fitting!r}: declare delimiter in the schema" if is_wrong else ""

    def _header(self, file: str) -> pa.Schema:
        if file not in self._headers:
            is_csv = self.format == "csv"
            self._headers[file] = csv_source.header(file, self._delimiter) if is_csv else _HEADERS[self.format](file)
        return self._headers[file]

    def _offered(self, file: str) -> pa.Schema:
        """The columns of a file, those of its folders among them; none if it is a TFRecord file without records."""
        header = self._header(file)
        folders = [name for name in partition_values(file) if name not in header.names]
        return pa.schema([*header, *((name, pa.string()) for name in folders)]) if len(header) else header

    def _reference(self) -> pa.Schema:
        """What the first file that has columns offers."""
        offered = (self._offered(file) for file in self.files)
        return next((schema for schema in offered if len(schema)), pa.schema([]))

    def _check(self, file: str, names: Sequence[str]) -> None:
        """Checks that a file offers columns by these names, of types that are used and that other files agree with."""
        offered = self._offered(file)
        if not len(offered) and len(self._reference()):
            return  # an empty part
        for name in names:
            fault = self._fault(file, name)
            if fault is not None:
                raise InputError(f"'{file}': {fault}")
            type_ = offered.field(name).type
            kind = family(type_)
            if kind == "nothing" or (kind is not None and kind == family(self._known(name)[0])):
                continue
            if not self._has_values(file, name):  # then its type says nothing
                self._without_values.add((file, name))
            elif kind is None:
                raise InputError(
                    f"'{file}', column '{name}': columns hold numbers, text, times, or lists of numbers or text; "
                    f"received {type_}"
                )
            else:
                other, first = self._known(name, with_values=True)
                if family(other) != kind:
                    raise InputError(
                        f"'{file}', column '{name}': a column must be of one kind in all files; received {type_} here "
                        f"and {other} in '{first}'"
                    )

    def _known(self, name: str, *, with_values: bool = False) -> tuple[pa.DataType, str]:
        """The type of a column in the first file that says one, and that file.

        Args:
          name: Of the column.
          with_values: Look for the first file in which it has values; asked only where types differ.
        """
        known = self._types_known.get(name)
        if known is None or (with_values and not self._has_values(known[1], name)):
            known = (pa.null(), self.files[0])
            for file in self.files:
                offered = self._offered(file)
                type_ = offered.field(name).type if offered.names.count(name) == 1 else pa.null()
                if family(type_) in (None, "nothing") or (with_values and not self._has_values(file, name)):
                    continue
                known = (type_, file)
                break
            self._types_known[name] = known
        return known

    def _has_values(self, file: str, name: str) -> bool:
        """Whether a column of a file has a value; asked only where types differ, for it may read the whole column."""
        header = self._header(file)
        if self.format == "csv" or name not in header.names:
            return True
        key = (file, name)
        if key not in self._valued:
            blocks = self._blocks(file, {name: header.field(name).type}, _SCAN_ROWS, "error", None)
            self._valued[key] = any(has_values(batch.column(name)) for _, batch in blocks)
        return self._valued[key]

    def _kinds(self, names: Sequence[str], schema: Schema | None) -> dict[str, Kind]:
        """What text without types stands for, by column."""
        if schema is not None:
            declared = declared_kinds(schema)
            return {name: declared.get(name, "text") for name in names}
        if self._inferred is None:
            self._inferred = self._inferred_kinds()
        return {name: self._inferred.get(name, "text") for name in names}

    def _inferred_kinds(self) -> dict[str, Kind]:
        folders: dict[str, list[str | None]] = {}
        for file in self.files:
            for name, value in partition_values(file).items():
                folders.setdefault(name, []).append(value)
        kinds = {name: inferred_kind(pa.array(values, pa.string())) for name, values in folders.items()}
        if self.format == "csv":
            for file in self.files:
                text = {name: pa.string() for name in unambiguous(self._header(file).names)}
                if not text:
                    continue
                # Damaged lines are reported when the rows are read.
                for _, block in csv_source.blocks(
                    file, text, delimiter=self._delimiter, chunk_rows=2**31, on_bad_lines="skip", report=None
                ):
                    if block.num_rows:
                        return kinds | {name: inferred_kind(block.column(name)) for name in text}
        return kinds

    def _types(self, header: Mapping[str, pa.DataType], kinds: Mapping[str, Kind]) -> dict[str, pa.DataType]:
        """The types to read columns as."""
        if self.format == "csv":
            encoded = pa.dictionary(pa.int32(), pa.string())
            return {name: encoded if kinds.get(name) == "text" else pa.string() for name in header}
        if self.format == "parquet":
            return dict(header)
        # The first records have no value of a feature: another file may know its type, or else the schema.
        types = {}
        for name, type_ in header.items():
            known = [type_, self._known(name)[0]]
            declared = _DECLARED_TYPES.get(kinds.get(name, "text"), pa.string())
            types[name] = next((t for t in known if not pa.types.is_null(t)), declared)
        return types

    def _blocks(
        self,
        file: str,
        types: Mapping[str, pa.DataType],
        chunk_rows: int,
        on_bad_lines: OnBadLines,
        report: Report | None,
        row_groups: Sequence[int] | None = None,
    ) -> Iterator[tuple[pd.Index, pa.RecordBatch]]:
        if not len(self._header(file)):
            return iter(())
        if self.format == "csv":
            return csv_source.blocks(
                file,
                types,
                delimiter=self._delimiter,
                chunk_rows=chunk_rows,
                on_bad_lines=on_bad_lines,
                report=report,
            )
        if self.format == "parquet":
            return parquet_source.blocks(file, types, chunk_rows=chunk_rows, row_groups=row_groups)
        return tfrecord_source.blocks(file, types, chunk_rows=chunk_rows)

    def _list_rule(self, name: str, schema: Schema | None) -> ListRule:
        # A TFRecord file does not say which features are lists.
        return list_rule(name, schema, single_is_value=self.format == "tfrecord")


def list_rule(name: str, schema: Schema | None, *, single_is_value: bool = False) -> ListRule:
    """What becomes of a column's lists, by the schema; `single_is_value` is as of `ListRule`."""
    if schema is None or name not in schema.columns:
        return ListRule(declared=False, separator=None)
    feature = next((f for f in schema.inputs if f.source == name), None)
    separator = feature.separator if isinstance(feature, Categorical) else None
    return ListRule(declared=True, separator=separator, single_is_value=single_is_value)


def open_source(path: str | Path | Sequence[str | Path], *, delimiter: str = ",") -> Source:
    """Finds the files of a table: `.csv`, `.csv.gz`, `.parquet`, `.tfrecord` or `.tfrecord.gz` (also `.tfrecords`).

    Args:
      path: A file, a folder (read with the folders in it), a glob pattern (`**` for any depth), or a list of these. In
        folders and patterns, names that start with `.` or `_` and files of other kinds are passed over.
      delimiter: Between the fields of a CSV file; a schema's is `schema.delimiter`.

    Raises:
      InputError: A path is missing, a pattern matches nothing, no file is a table, or the formats differ.

    Example:
      >>> for chunk in open_source("logs/").chunks(schema=schema):
      ...     print(chunk.file, chunk.first_row, len(chunk.frame))
    """
    files, format_ = table_files(path)
    return Source(files, format_, delimiter)


def _shortened(names: Sequence[str], limit: int = 12) -> str:
    more = f", ... {len(names) - limit} more" if len(names) > limit else ""
    return f"[{', '.join(map(repr, names[:limit]))}{more}]"


_HEADERS = {"parquet": parquet_source.header, "tfrecord": tfrecord_source.header}
_SCAN_ROWS = 65_536
_DECLARED_TYPES = {"integer": pa.int64(), "time": pa.int64(), "number": pa.float32()}
