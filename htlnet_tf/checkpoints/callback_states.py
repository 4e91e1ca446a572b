"""What the callbacks of a `fit` have gathered on the way: a checkpoint keeps it with the model's state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_OF_KERAS: dict[type, tuple[str, ...]] = {
    tf.keras.callbacks.History: ("epoch", "history"),
    tf.keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    tf.keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    tf.keras.callbacks.ModelCheckpoint: ("best",),
}


def attributes(callback: Any) -> tuple[str, ...]:
    """The attributes of a callback that are its state; none of one that is not known to have any.

    A callback of one's own names them in `checkpointed`.
    """
    own = getattr(callback, "checkpointed", None)
    if own is not None:
        return tuple(own)
    return next((names for kind, names in _OF_KERAS.items() if isinstance(callback, kind)), ())


def stateful(callbacks: Sequence[Any]) -> list[Any]:
    """Those that have a state, in their order."""
    return [callback for callback in callbacks if attributes(callback)]


def states(callbacks: Sequence[Any]) -> list[dict[str, Any]]:
    """The state of each that has one."""
    return [{name: getattr(c, name) for name in attributes(c) if hasattr(c, name)} for c in stateful(callbacks)]


def restore_states(callbacks: Sequence[Any], kept: Sequence[dict[str, Any]]) -> None:
    """Puts back what `states` gave.

    Args:
      callbacks: Of the same kinds, in the same order.
      kept: The states.
    """
    for callback, state in zip(stateful(callbacks), kept, strict=True):
        for name, value in state.items():
            setattr(callback, name, value)
