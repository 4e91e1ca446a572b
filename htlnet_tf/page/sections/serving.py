"""What a server is asked: the servable, the columns of a request, and requests to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from htlnet_tf.data.raw_features import raw_features
from htlnet_tf.errors import InputError
from htlnet_tf.page.blocks import Block, Cell, Code, Column, Folded, Pairs, Section, Table, Text
from htlnet_tf.page.numbers import size_text
from htlnet_tf.page.run_inputs import RunInputs, Servable
from htlnet_tf.schema import Categorical, Schema, Timestamp
from htlnet_tf.schema.features import Input
from htlnet_tf.serving.clients.bodies import columnar_body, row_body
from htlnet_tf.serving.signatures import CANDIDATES_SIGNATURE, DEFAULT_SIGNATURE

_ROWS, _CANDIDATES = 2, 3
_LONGEST = 20_000  # of a request; a longer one has a single row
_LOOKED_AT = 256


def serving_section(run: RunInputs) -> Section | None:
    """The servable if there is one, and how the model is asked."""
    inputs = run.schema.inputs
    if any(isinstance(f, Categorical) and f.dtype is None for f in inputs):
        return None  # the configuration of a run that has not begun leaves types open
    blocks: list[Block] = []
    name = "htlnet"
    if run.servable is not None:
        name = run.servable.name
        blocks.append(Pairs(_servable_pairs(run.servable)))
    else:
        blocks.append(Code("A servable of this run, and a server for it", _export_and_serve(run.name)))
    blocks += _requests(run, name)
    table = Table(
        "Columns of a request",
        [Column(label, is_number=False) for label in ("column", "type", "group", "a missing value is sent as")],
        [[Cell(f.name), Cell(_type(f)), Cell(f.group), Cell(_missing(f))] for f in inputs],
    )
    blocks += [
        Text(f"Every row gets {', '.join(run.schema.score_columns)}."),
        Folded(f"The {len(inputs)} columns of a request", [table]),
    ]
    return Section("serving", "Serving", blocks)


def requests(schema: Schema, rows: pd.DataFrame) -> dict[str, str]:
    """Bodies of requests with real values, by signature: some rows, and candidates of the first row's user.

    Args:
      schema: With everything settled.
      rows: Raw rows.

    Returns:
      JSON, NaN as the bare token that TensorFlow Serving reads.

    Raises:
      InputError: The rows have not the schema's columns.
    """
    raw = raw_features(rows.head(_LOOKED_AT), schema)
    order = _complete_first(raw)
    bodies = {DEFAULT_SIGNATURE: _within(lambda n: row_body(DEFAULT_SIGNATURE, _taken(raw, order[:n])), _ROWS)}
    items = {feature.name for feature in schema.inputs if feature.group == "item"}
    if items and items != set(raw):

        def candidates(count: int) -> bytes:
            some = _taken(raw, order[:count])
            return columnar_body(CANDIDATES_SIGNATURE, {n: v if n in items else v[:1] for n, v in some.items()})

        bodies[CANDIDATES_SIGNATURE] = _within(candidates, _CANDIDATES)
    return bodies


def _requests(run: RunInputs, name: str) -> list[Block]:
    if run.held_out is None or run.held_out.empty:
        return []
    try:
        bodies = requests(run.schema, run.held_out)
    except InputError as error:
        return [Text(f"No example requests, for the held-out rows do not fit the schema: {error}")]
    url = f"http://localhost:8501/v1/models/{name}:predict"
    labels = {
        DEFAULT_SIGNATURE: "Rows, with values of the test rows (REST)",
        CANDIDATES_SIGNATURE: "Candidates of one user, whose columns are sent once (REST)",
    }
    blocks: list[Block] = [
        Code(labels[signature], f"curl {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}")
        for signature, body in bodies.items()
    ]
    python = (
        "import pandas as pd\nfrom htlnet_tf.serving import RestClient  # needs no TensorFlow\n\n"
        f"rows = pd.read_parquet({str(run.name + '/held_out.parquet')!r}).head(5)\n"
        f'with RestClient("http://localhost:8501", {name!r}, schema={run.name!r}) as client:\n'
        "    print(client.predict(rows))"
    )
    return [*blocks, Code("From Python", python)]


def _export_and_serve(run: str) -> str:
    return f"htlnet export {shlex.quote(run)} --to models\nhtlnet serve models"


def _servable_pairs(servable: Servable) -> list[tuple[str, str]]:
    pairs = [
        ("Servable", f"{servable.name}, version {servable.version}"),
        ("Size", size_text(servable.size_bytes)),
        ("Signatures", ", ".join(servable.signatures)),
    ]
    if servable.exported_at:
        pairs.append(("Exported", servable.exported_at))
    if servable.verified_rows is not None and servable.largest_difference is not None:
        difference = f"largest difference {servable.largest_difference:.1e}"
        pairs.append(("Verified", f"{servable.verified_rows:,} rows score as in training ({difference})"))
    return pairs


def _complete_first(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Positions of rows, those without missing values first, else in their order."""
    count = len(next(iter(raw.values())))
    gaps = np.zeros(count, np.int64)
    for values in raw.values():
        if values.dtype == object:
            gaps += np.fromiter((value == "" for value in values), bool, count)
        elif values.dtype.kind == "f":
            gaps += np.isnan(values)
        else:
            gaps += values == np.iinfo(values.dtype).min
    return np.argsort(gaps, kind="stable")


def _taken(raw: Mapping[str, np.ndarray], positions: np.ndarray) -> dict[str, list[Any]]:
    return {name: [_plain(value) for value in values[positions]] for name, values in raw.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.floating):
        return float(str(value))  # 12.5 and 0.1, not the 0.10000000149 that a float32 is
    return value.item() if isinstance(value, np.generic) else value


def _within(body: Any, most: int) -> str:
    """With as many rows as keep it short, at least one."""
    text = body(most).decode()
    if len(text) > _LONGEST:
        text = body(1).decode()
    return json.dumps(json.loads(text), ensure_ascii=False)  # with blanks, where a line may break


def _type(feature: Input) -> str:
    if isinstance(feature, Categorical):
        return str(feature.dtype)
    return "int64" if isinstance(feature, Timestamp) else "float32"


def _missing(feature: Input) -> str:
    return {"string": '""', "int64": "-9223372036854775808", "float32": "NaN"}[_type(feature)]
