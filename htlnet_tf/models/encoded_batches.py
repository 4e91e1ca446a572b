"""What Keras' methods of a model take, told before Keras fails at it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from htlnet_tf.errors import InputError


def require_encoded(method: str, x: Any = None, *_: Any, **__: Any) -> None:
    """Refuses a frame of raw rows, of which Keras would say no more than that it cannot make a tensor of it.

    Args:
      method: The model's, which is called.
      x: Its first argument.

    Raises:
      InputError: It is a DataFrame.
    """
    if isinstance(x, pd.DataFrame):
        other = "" if method == "fit" else f"`htlnet_tf.{method}(model, frame)` takes raw rows, and "
        shuffled = ", shuffle=True" if method == "fit" else ""  # which also says that they are training rows
        raise InputError(
            f"`model.{method}` takes encoded batches and received a DataFrame: {other}"
            f"`htlnet_tf.data.make_dataset(frame, schema, encoder{shuffled})` encodes them"
        )
