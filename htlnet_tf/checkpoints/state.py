"""All that a model and its optimizer keep in variables, as one file."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from htlnet_tf.distribution import is_shared, states_of, values_for_all
from htlnet_tf.errors import InputError

_FILE = "state.npz"


def save_state(model: Any, folder: str | Path) -> None:
    """Writes the variables of a model, weights, metrics and the like, and of its optimizer, slots and step, by name.

    The file `state.npz` in the folder is one of NumPy's: `numpy.load` reads it. A variable's name there is its path
    from the model on, such as `towers/0/hidden/0/kernel` or `optimizer/_variables/3`. Under a `tf.distribute` strategy
    it has what the variables give where they are read outside of a step.

    Args:
      model: Compiled; a slot that its optimizer has not made yet is made first.
      folder: Exists.

    Raises:
      OSError: The folder cannot be written to.
    """
    write_arrays(folder, read_state(model))


def read_state(model: Any) -> Iterable[tuple[str, np.ndarray]]:
    """The variables of a model and its optimizer with their names, one after the other.

    Where several processes train it, all of them must ask for it at the same place, and each may stop anywhere.

    Args:
      model: As for `save_state`.
    """
    _make_slots(model)
    variables = named_variables(model)
    summed = values_for_all(variables) if is_shared(model.distribute_strategy) else {}
    return ((name, summed[name] if name in summed else v.numpy()) for name, v in variables.items())


def copy_state(model: Any, other: Any) -> None:
    """Puts the state of a model that is trained under a strategy into one of the same kind without one.

    Args:
      model: As for `read_state`.
      other: Compiled.
    """
    _make_slots(other)
    variables = named_variables(other)
    for name, array in read_state(model):
        variables[name].assign(array)


def copy_own_state(model: Any, other: Any) -> None:
    """As `copy_state`, of what this process has alone: without an exchange, where others may be gone or elsewhere.

    What each process counts for itself, running metrics, is then that of this one.

    Args:
      model: As for `read_state`.
      other: Compiled.
    """
    _make_slots(other)
    variables = named_variables(other)
    for name, variable in named_variables(model).items():
        variables[name].assign(states_of(variable)[0].numpy().copy())


def restore_state(model: Any, folder: str | Path, *, keep: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Puts what `save_state` wrote into a model of the same kind and size, compiled with the same kind of optimizer.

    Nothing is changed unless all of it fits.

    Args:
      model: Compiled; a slot that its optimizer has not made yet is made first.
      folder: Where `save_state` wrote.
      keep: Names of variables.

    Returns:
      What was read for those, by name.

    Raises:
      InputError: The file is missing or damaged, or its variables are not the model's, in name, shape or dtype.
    """
    _make_slots(model)
    path, variables = Path(folder) / _FILE, named_variables(model)
    if zipfile.is_zipfile(path):
        fault = _fault(path, variables)
        if fault is not None:
            raise InputError(f"'{path}' is of another model: {fault}")
    kept = {}
    for name, array in read_arrays(folder):
        # What a process counts for itself would be summed over all of them, to give back what it is now.
        variables[name].assign(array, read_value=False)
        if name in keep:
            kept[name] = array
    return kept


def named_variables(model: Any) -> dict[str, tf.Variable]:
    """The variables that a model tracks, with those of its metrics and its optimizer, by their path from it on."""
    view, found, seen = tf.train.TrackableView(model), dict[str, tf.Variable](), set[int]()
    left: list[tuple[str, Any]] = [("", model)]
    while left:
        path, tracked = left.pop()
        if id(tracked) in seen:
            continue
        seen.add(id(tracked))
        if isinstance(tracked, tf.Variable):
            found[path] = tracked
        else:
            left += [(f"{path}/{name}".lstrip("/"), child) for name, child in view.children(tracked).items()]
    return dict(sorted(found.items()))


def write_arrays(folder: str | Path, arrays: Iterable[tuple[str, np.ndarray]], *, file: str = _FILE) -> None:
    """Writes arrays one after the other, so that never two of them are in memory, and brings them onto the disk.

    Args:
      folder: Exists.
      arrays: With their names.
      file: Its name.

    Raises:
      OSError: The folder cannot be written to.
    """
    with (Path(folder) / file).open("wb") as raw:
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
        raw.flush()
        os.fsync(raw.fileno())  # a rename that reaches the disk before its content would be a damaged checkpoint


def read_arrays(folder: str | Path, *, file: str = _FILE) -> Iterable[tuple[str, np.ndarray]]:
    """The arrays of a file with their names, one after the other; all of it is checked before the first.

    Args:
      folder: Where `write_arrays` wrote.
      file: Its name.

    Raises:
      InputError: The file is missing or damaged.
    """
    path = Path(folder) / file
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"the checksum of '{damaged}' is another")
            for name in archive.namelist():
                with archive.open(name) as entry:
                    yield name.removesuffix(".npy"), np.lib.format.read_array(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"'{path}' is missing or damaged: {error}") from error


def _make_slots(model: Any) -> None:
    if not isinstance(getattr(model, "optimizer", None), tf.keras.optimizers.Optimizer):
        raise InputError(
            "the state of a model has its optimizer's variables in it: compile it first, with `htlnet_tf.LazyAdam` or "
            "another optimizer of `tf.keras.optimizers` that is none of the legacy ones"
        )
    model.make_train_function()


def _fault(path: Path, variables: Mapping[str, tf.Variable]) -> str | None:
    """What of a file's shapes and dtypes is not a model's; None if all of it fits, or cannot be told."""
    kept: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as entry:
                    version = np.lib.format.read_magic(entry)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(entry)
                    kept[name.removesuffix(".npy")] = (shape, dtype)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None  # damaged, as `read_arrays` will say
    for name in [*variables, *kept]:
        if name not in kept or name not in variables:
            return f"'{name}' is {'there' if name in kept else 'in the model'} alone"
    for name, variable in variables.items():
        here = (tuple(variable.shape), np.dtype(variable.dtype.as_numpy_dtype))
        if here != kept[name]:
            return f"'{name}' has shape {kept[name][0]} and dtype {kept[name][1]} there, {here[0]} and {here[1]} here"
    return None
