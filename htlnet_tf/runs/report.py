"""`htlnet report RUN`: the page of a run folder, written again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path
from htlnet_tf.judging.evaluation import score
from htlnet_tf.manifest import record
from htlnet_tf.page.render import render
from htlnet_tf.page.run_inputs import RunInputs, Servable
from htlnet_tf.page.run_page import run_page
from htlnet_tf.runs.folder import load_model
from htlnet_tf.runs.page import PAGE, run_inputs
from htlnet_tf.runs.page_facts import IMPORTANCE_ROWS, with_test_rows
from htlnet_tf.runs.preparation import Write
from htlnet_tf.runs.training import load_test_rows
from htlnet_tf.schema import Schema

_SUMMARY = Path("assets.extra") / "training_summary.json"


def report_run(
    directory: str | Path,
    output: str | Path | None = None,
    *,
    data: str | Path | None = None,
    importance_rows: int | None = None,
    servable: str | Path | None = None,
    write: Write = print,
) -> Path:
    """Writes the page of a run folder again; its facts stay as training left them.

    Args:
      directory: The run folder; one of an older version gives a page that says what is missing.
      output: The HTML file; None: `report.html` in the folder.
      data: Judge the model anew on the test rows of these data; metrics, calibration, gains and importance are then of
        them.
      importance_rows: Test rows to measure importance on, which judges anew too, without `data` on the configuration's
        own rows; 0: leave importance out. None: what is known, or the usual number with `data`.
      servable: The folder of a version that was exported from the run, `models/htlnet/3`.
      write: Where progress lines go.

    Returns:
      The file.

    Raises:
      InputError: The folder is no run or is damaged, the data are not usable, or the servable is of another run.
    """
    inputs = run_inputs(directory)
    if servable is not None:
        inputs = dataclasses.replace(inputs, servable=read_servable(servable, local_path(directory)))
    if importance_rows is not None and importance_rows < 0:
        raise InputError(f"the rows that importance is measured on cannot be negative, received {importance_rows}")
    if data is not None or importance_rows:
        rows = IMPORTANCE_ROWS if importance_rows is None else importance_rows
        inputs = _judged_anew(inputs, directory, data, rows, write)
    elif importance_rows == 0:
        inputs = dataclasses.replace(inputs, facts=dataclasses.replace(inputs.known, importance=()))
    path = local_path(directory) / PAGE if output is None else local_path(output)
    with atomic_file(path) as partial:
        partial.write_text(render(run_page(inputs)), encoding="utf-8")
    if output is None:
        record(path.parent, [path.name])
    return path


def read_servable(version: str | Path, run: Path) -> Servable:
    """What the folder of a version tells, `models/htlnet/3`.

    Args:
      version: The folder.
      run: The run folder that it should be of.

    Raises:
      InputError: It is no version of this package, or was exported from another run.
    """
    from htlnet_tf.export.signatures import signatures_of

    folder = local_path(version)
    try:
        summary: dict[str, Any] = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
        hashed, number = summary["data"]["sha256"], int(folder.name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{version}' is no version's folder, such as models/htlnet/3: {error}") from error
    if hashed != hashlib.sha256((run / "encoder.json").read_bytes()).hexdigest():
        raise InputError(f"'{version}' was not exported from '{run}': it was trained on other rows")
    verification = summary.get("verification", {})
    return Servable(
        name=folder.parent.name,
        version=number,
        size_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        signatures=list(signatures_of(Schema.from_yaml(folder / "assets.extra" / "schema.yaml"))),
        exported_at=summary.get("exported_at"),
        verified_rows=verification.get("rows"),
        largest_difference=verification.get("largest_difference"),
    )


def _judged_anew(
    inputs: RunInputs, directory: str | Path, data: str | Path | None, importance: int, write: Write
) -> RunInputs:
    _, model = load_model(directory)
    rows = load_test_rows(directory, data)
    scored = score(model, rows)
    facts = with_test_rows(inputs.known, model, rows, scored, importance_rows=importance, write=write)
    report = scored.report(model.schema)
    if data is not None:
        # The constants were judged on the rows of the training, which these need not be.
        facts = dataclasses.replace(facts, test_rows=f"the test rows of '{data}'", trivial={})
    return dataclasses.replace(inputs, facts=facts, report=report)
