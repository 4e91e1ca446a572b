"""`htlnet report`: the page of a folder, whichever kind of folder it is."""

from __future__ import annotations

from pathlib import Path

from htlnet_tf.comparison.page import is_comparison, report_comparison
from htlnet_tf.errors import InputError
from htlnet_tf.files import local_path
from htlnet_tf.runs.preparation import Write
from htlnet_tf.runs.report import report_run


def report(
    folder: str | Path,
    output: str | Path | None = None,
    *,
    data: str | Path | None = None,
    importance_rows: int | None = None,
    servable: str | Path | None = None,
    write: Write = print,
) -> Path:
    """Writes the page of a run or of a comparison.

    Args:
      folder: The folder of either.
      output: The HTML file; None: `report.html` in the folder.
      data: Of a run, as for `htlnet_tf.runs.report.report_run`, as the following.
      importance_rows: Test rows that importance is measured on.
      servable: A version that was exported from the run.
      write: Where progress lines go.

    Returns:
      The file.

    Raises:
      InputError: The folder is neither, something in it is damaged, or a comparison is given what is for runs.
    """
    if not is_comparison(local_path(folder)):
        return report_run(folder, output, data=data, importance_rows=importance_rows, servable=servable, write=write)
    given = {"--data": data, "--importance": importance_rows, "--servable": servable}
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise InputError(f"'{folder}' is a comparison, and {', '.join(named)} is for a run folder")
    return report_comparison(folder, output)
