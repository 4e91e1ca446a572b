"""What columns are called: in tables, in the exported signature, in Python."""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
"""Of every declaration: an argument that it does not know is an error."""

# Column names become tensor names in the exported signature, so they keep to what TensorFlow accepts there.
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.][A-Za-z0-9_.\-]*$")]
# What a table calls a column may be anything.
SourceName = Annotated[str, Field(min_length=1)]
DecimalMark = Literal[".", ","]
EmbeddingDim = Annotated[int, Field(ge=1, le=4096)]
QuantileBuckets = Annotated[int, Field(ge=2, le=10_000)]

THRESHOLDS = "thresholds"
"""The input of the signature `exceedance` that is no column."""


def argument_name(column: str) -> str:
    """A column's name as an argument of a Python function, which each signature of an exported model is in Python:
    `class_` for `class`, as for every keyword of Python and `self`; any other name as it is.
    """
    return f"{column}_" if keyword.iskeyword(column) or column == "self" else column


def exported_name(column: str) -> str:
    """A column's name as TensorFlow has it in an exported graph: lower case, and other characters `_`."""
    return re.sub(r"[^a-z0-9]", "_", argument_name(column).lower())


def quantile_name(target: str, level: float) -> str:
    """What the quantile of a target at a level is called: `spend_p10` at 0.1, `spend_p2_5` at 0.025."""
    return f"{target}_p{quantile_suffix(level)}"


def quantile_suffix(level: float) -> str:
    """A level in per cent as names have it: `10` of 0.1, `2_5` of 0.025."""
    return f"{100.0 * level:.10g}".replace(".", "_")


class Named:
    """What a column of a table is read for, under a name that the model and its servable use."""

    name: str
    column: str | None

    @property
    def source(self) -> str:
        """The column's name in the table."""
        return self.name if self.column is None else self.column
