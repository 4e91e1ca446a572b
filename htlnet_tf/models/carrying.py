"""What a trained network and its optimizer have learned, carried over to one whose embedding has other rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from htlnet_tf.encoding.kinds.kind import Origins
from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel

NewRows = Literal["fresh", "unknown"]

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def moved_weights(before: MultiTaskModel, tables: Sequence[Origins]) -> list[tf.Tensor]:
    """The weights of a trained network, in its order, those of embedding tables in the order of their new rows.

    The network is not needed any more then.

    Args:
      before: The trained one.
      tables: Per embedding table, where its rows were.
    """
    moved = {table.ref(): origins for table, origins in zip(before.embedding.tables, tables, strict=True)}
    found = []
    for weight in before.weights:
        origins = moved.get(weight.ref())
        rows = None if origins is None else np.maximum(origins.rows, 0)
        found.append(tf.identity(weight) if rows is None else tf.gather(weight, rows))
    return found


def carry_weights(
    weights: Sequence[tf.Tensor], after: MultiTaskModel, tables: Sequence[Origins], *, new_rows: NewRows = "fresh"
) -> None:
    """Gives a network the weights of a trained one; rows of embedding tables by what they stand for.

    Args:
      weights: What `moved_weights` gave of the trained one.
      after: Built with the same arguments.
      tables: As there.
      new_rows: What new rows start from: `"fresh"`, the start values that they have, or `"unknown"`, the row that their
        value was read as until now, if it was one.
    """
    moved = {table.ref(): origins for table, origins in zip(after.embedding.tables, tables, strict=True)}
    for weight, variable in zip(weights, after.weights, strict=True):
        origins = moved.get(variable.ref())
        if origins is None:
            variable.assign(weight)
            continue
        own = np.flatnonzero(origins.is_new if new_rows == "fresh" else origins.rows < 0)
        start = tf.gather(variable, own)
        variable.assign(weight)
        variable.scatter_update(tf.IndexedSlices(start, own))


def carry_optimizer(
    checkpoint: str | Path, after: MultiTaskModel, tables: Sequence[Origins], *, member: int | None = None
) -> bool:
    """Gives a compiled network's optimizer the state that a checkpoint of the trained one has; new rows begin with 0.

    The variables are read one after the other, so that there is never a second copy of all of them.

    Args:
      checkpoint: What `save_weights` wrote.
      after: As for `carry_weights`; its optimizer is that of the trained one, and is built here.
      tables: As there.
      member: Of an ensemble's checkpoint, which member it is; None: it is one network's.

    Returns:
      Whether there was a state; if not, the optimizer begins anew.

    Raises:
      InputError: The state is that of another optimizer, or damaged.
    """
    optimizer: Any = after.optimizer
    after.make_train_function()  # which builds the optimizer for what is trained
    slots = [{slot.ref() for slot in optimizer.slots(table)} for table in after.embedding.trained_tables]
    places = [
        i for i, table in enumerate(after.embedding.tables) if any(table is t for t in after.embedding.trained_tables)
    ]
    moved = {ref: tables[place] for place, refs in zip(places, slots, strict=True) for ref in refs}
    prefix = "optimizer/" if member is None else f"_members/{member}/optimizer/"
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        kept = {name for name in reader.get_variable_to_shape_map() if name.startswith(f"{prefix}_variables/")}
        if not kept:
            return False
        # The first of an optimizer's variables counts its steps, and is kept under a name of its own.
        names = [f"{prefix}_iterations{_VALUE}"]
        names += [f"{prefix}_variables/{i}{_VALUE}" for i in range(1, len(optimizer.variables))]
        if kept != set(names[1:]):
            raise InputError(f"the optimizer's state in '{checkpoint}' is that of another optimizer or model")
        for name, variable in zip(names, optimizer.variables, strict=True):
            found, origins = reader.get_tensor(name), moved.get(variable.ref())
            if origins is None:
                variable.assign(found)
                continue
            variable.assign(tf.gather(found, np.maximum(origins.rows, 0)))
            own = np.flatnonzero(origins.is_new)
            variable.scatter_update(tf.IndexedSlices(tf.zeros([len(own), *variable.shape[1:]], variable.dtype), own))
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the optimizer's state in '{checkpoint}' is missing or damaged: {error}") from error
    return True
