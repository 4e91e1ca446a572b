"""The days that a model has learned, as `lineage.json` of a run folder tells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.page.facts import FORMAT, facts_text, read_facts

# A later version may tell more; what this one does not know is left aside.
_LENIENT = ConfigDict(extra="ignore", allow_inf_nan=True)


@dataclass(frozen=True, config=_LENIENT)
class Parent:
    """The run that a day was added to.

    Args:
      path: Its folder at that time.
      digest: SHA-256 of its configuration, encoder, calibration and weights.
    """

    path: str
    digest: str


@dataclass(frozen=True, config=_LENIENT)
class LearnedDay:
    """What a run was trained on at first, or a further day.

    Args:
      kind: `"train"` or `"update"`.
      rows: How many.
      made_at: When, ISO 8601 in UTC; None if it is not known.
      data: Where the rows came from; None: from Python.
      first: The earliest timestamp, as `htlnet_tf.data.timestamps` writes points; None if it is not known.
      last: The latest, likewise.
      parent: The run before; None of the first.
      added: By feature, values that got a row.
      dropped: By feature, values that gave theirs back.
      embedding_rows: Behind the day.
      kept_moments: Whether the optimizer went on from its moments.
      metrics: Of the day as the model before predicted it, by target: `{"click": {"auc": 0.7}}`.
    """

    kind: Literal["train", "update"]
    rows: int
    made_at: str | None = None
    data: str | None = None
    first: str | int | float | None = None
    last: str | int | float | None = None
    parent: Parent | None = None
    added: dict[str, int] = Field(default_factory=dict)
    dropped: dict[str, int] = Field(default_factory=dict)
    embedding_rows: int | None = None
    kept_moments: bool | None = None
    metrics: dict[str, dict[str, float | None]] = Field(default_factory=dict)


@dataclass(frozen=True, config=_LENIENT)
class Lineage:
    """The days in order, the first training at first.

    Args:
      days: At least one.
      format: Of the document; it grows by one when a reader has to know.
    """

    days: tuple[LearnedDay, ...]
    format: int = FORMAT

    def to_json(self) -> str:
        """As a JSON document; what is undefined is null."""
        return facts_text(self, _ADAPTER)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        document: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return document

    @classmethod
    def load(cls, path: Path) -> Lineage | None:
        """Reads `lineage.json`; None if there is none, as in the folder of a run without further days.

        Raises:
          InputError: It is damaged, or of a later version that wants another reader.
        """
        lineage: Lineage | None = read_facts(path, _ADAPTER)
        return lineage


_ADAPTER: TypeAdapter[Lineage] = TypeAdapter(Lineage)
