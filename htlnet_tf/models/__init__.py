"""One file per model; `MODELS` finds them by the name that configurations and the command line use."""

from __future__ import annotations

from htlnet_tf.errors import InputError
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.htlnet import HTLNet
from htlnet_tf.models.shared_bottom import SharedBottom

MODELS: dict[str, type[MultiTaskModel]] = {"htlnet": HTLNet, "shared_bottom": SharedBottom}


def model_class(name: str) -> type[MultiTaskModel]:
    """The model of that name.

    Raises:
      InputError: There is none.
    """
    if name not in MODELS:
        raise InputError(f"model '{name}' is not known; there are {sorted(MODELS)}")
    return MODELS[name]


__all__ = ["MODELS", "HTLNet", "MultiTaskModel", "SharedBottom", "model_class"]
