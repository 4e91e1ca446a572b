"""YAML and JSON documents, checked by pydantic and faulted by field."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import TypeAdapter

from htlnet_tf.errors import InputError
from htlnet_tf.files import atomic_file, local_path


def read_yaml(path: str | Path) -> Any:
    """Reads one YAML document (safe subset).

    Raises:
      InputError: The file cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(local_path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not valid YAML: {error}") from error


def yaml_text(document: Any, path: str | Path | None = None) -> str:
    """A plain document as YAML text; also written to `path` if one is given."""
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120)
    if path is not None:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return text


def without_nan(document: Any) -> Any:
    """A plain document in which NaN, for which JSON has no word, is None."""
    if isinstance(document, dict):
        return {key: without_nan(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [without_nan(value) for value in document]
    return None if isinstance(document, float) and math.isnan(document) else document


def validate(adapter: TypeAdapter[Any], document: Any, *, source: str) -> Any:
    """Validates a plain document with pydantic and reports every fault by its field.

    Raises:
      InputError: One line per fault: field, rule, what was received.
    """
    try:
        return adapter.validate_python(document)
    except pydantic.ValidationError as error:
        raise InputError(f"{source}: {faults(error)}") from error


def faults(error: pydantic.ValidationError) -> str:
    """What pydantic found, in one line: per fault the field, the rule, what was received."""
    return "; ".join(_fault(e) for e in error.errors())


def _fault(error: Any) -> str:
    location = _location(error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{location}: there is no such field"
    message = str(error["msg"]).removeprefix("Value error, ")
    received = (
        ""
        if isinstance(error["input"], (dict, Sequence)) and not isinstance(error["input"], str)
        else (f" (received {error['input']!r})")
    )
    if error["type"] in ("missing", "value_error"):
        received = ""
    return f"{location}: {message}{received}" if location else f"{message}{received}"


def _location(loc: Sequence[Any]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def require_same(
    where: Path, now: Any, before: Any, *, instead: str = "name another directory, or --overwrite"
) -> None:
    """Checks that two documents are the same.

    Args:
      where: What was made with the one before.
      now: The one of today.
      before: The other.
      instead: What to do where they differ.

    Raises:
      InputError: They are not; names the fields that differ.
    """
    differences = list(_differences(now, before))
    if differences:
        raise InputError(f"'{where}' was made with other settings: {'; '.join(differences[:3])}; {instead}")


def _differences(now: Any, before: Any, name: str = "") -> Iterator[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(now.get(key), before.get(key), f"{name}.{key}".lstrip("."))
    elif now != before:
        yield f"{name} is {before!r} there, {now!r} here"
