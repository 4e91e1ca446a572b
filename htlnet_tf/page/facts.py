"""What a run folder keeps for its page, beside the files that it has anyway: `page.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from htlnet_tf.documents import validate, without_nan
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path

FORMAT = 1
# A later version may tell more; what this one does not know is left aside.
_LENIENT = ConfigDict(extra="ignore", allow_inf_nan=True)


@dataclass(frozen=True, config=_LENIENT)
class Member:
    """How one network was trained.

    Args:
      seed: Of its initial weights, the order of its rows and its noise.
      best: The number of the validation whose weights it has, from 1.
      validations: How many there were.
      seconds: Of training, without validation.
    """

    seed: int
    best: int
    validations: int
    seconds: float


@dataclass(frozen=True, config=_LENIENT)
class Bin:
    """A row of `htlnet_tf.judging.calibration.calibration_table`."""

    target: str
    bin: int
    rows: int
    mean_prediction: float
    mean_label: float
    std_error: float | None = None


@dataclass(frozen=True, config=_LENIENT)
class Gain:
    """A row of `htlnet_tf.judging.gains.gains_table`."""

    target: str
    top: float
    captured: float
    perfect: float


@dataclass(frozen=True, config=_LENIENT)
class Importance:
    """A row of `htlnet_tf.judging.importance.importance_table`."""

    column: str
    group: str
    target: str
    metric: str
    loss: float
    spread: float | None = None


@dataclass(frozen=True, config=_LENIENT)
class RunFacts:
    """What is known of a run beside its metrics, its histories and its configuration.

    Args:
      format: Of the document; it grows by one when a reader has to know.
      made_at: When, ISO 8601 in UTC.
      command: The command line that made it; None: it was made from Python.
      versions: Of Python and the packages that results depend on.
      model: What people call it.
      parameters: Trained numbers, embedding rows included.
      rows: By part of the split.
      members: How each network was trained.
      trivial: By name, the metrics of predictions that need no model, as `Report.to_dict` gives them.
      calibration: Bins of the test rows.
      gains: Points of the test rows' curves.
      drift: By feature, the population stability between training and test rows; None where it is undefined.
      importance: Permutation importance on some test rows.
      importance_rows: On how many.
      test_rows: What the facts about the test rows are of, where they were computed anew from other data.
    """

    format: int = FORMAT
    made_at: str | None = None
    command: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    model: str | None = None
    parameters: int | None = None
    rows: dict[str, int] = Field(default_factory=dict)
    members: tuple[Member, ...] = ()
    trivial: dict[str, dict[str, Any]] = Field(default_factory=dict)
    calibration: tuple[Bin, ...] = ()
    gains: tuple[Gain, ...] = ()
    drift: dict[str, float | None] = Field(default_factory=dict)
    importance: tuple[Importance, ...] = ()
    importance_rows: int = 0
    test_rows: str | None = None

    def to_json(self) -> str:
        """As a JSON document; what is undefined is null."""
        return facts_text(self, _ADAPTER)

    @classmethod
    def load(cls, path: Path) -> RunFacts | None:
        """Reads `page.json`; None if there is none, as in a folder of an older version.

        Raises:
          InputError: It is damaged, or of a later version that wants another reader.
        """
        facts: RunFacts | None = read_facts(path, _ADAPTER)
        return facts


def read_facts(path: Path, adapter: TypeAdapter[Any]) -> Any:
    """A `page.json` as the adapter reads it; None if there is none, as in a folder of an older version.

    Raises:
      InputError: It is damaged, or of a later version that wants another reader.
    """
    try:
        document = json.loads(local_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{path}': {error}") from error
    written = document.get("format", FORMAT) if isinstance(document, dict) else FORMAT
    if isinstance(written, int) and written > FORMAT:
        raise InputError(
            f"'{path}' has format {written}, and this version reads up to {FORMAT}: upgrade htlnet_tf, or remove the "
            "file for a page without what it tells"
        )
    return validate(adapter, document, source=str(path))


def facts_text(facts: Any, adapter: TypeAdapter[Any]) -> str:
    """Facts as a JSON document; what is undefined is null."""
    return json.dumps(without_nan(adapter.dump_python(facts, mode="json")), indent=1, allow_nan=False)


def bins_of(table: pd.DataFrame) -> tuple[Bin, ...]:
    """The rows of a table of calibration."""
    return tuple(Bin(**row) for row in _records(table))


def gains_of(table: pd.DataFrame) -> tuple[Gain, ...]:
    """The rows of a table of gains."""
    return tuple(Gain(**row) for row in _records(table))


def importance_of(table: pd.DataFrame) -> tuple[Importance, ...]:
    """The rows of a table of permutation importance."""
    return tuple(Importance(**row) for row in _records(table))


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [without_nan({str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


_ADAPTER: TypeAdapter[RunFacts] = TypeAdapter(RunFacts)
