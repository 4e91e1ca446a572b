"""One file per model; `MODELS` finds them by the name that configurations and the command line use."""

from __future__ import annotations

from htlnet_tf.errors import InputError
from htlnet_tf.models.adatt import AdaTT
from htlnet_tf.models.aitm import AITM
from htlnet_tf.models.base import MultiTaskModel
from htlnet_tf.models.ensemble import Ensemble
from htlnet_tf.models.esmm import ESMM
from htlnet_tf.models.htlnet import HTLNet
from htlnet_tf.models.mmoe import MMoE
from htlnet_tf.models.options import ModelOptions
from htlnet_tf.models.ple import PLE
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.models.shared_bottom import SharedBottom
from htlnet_tf.models.single_task import SingleTask

MODELS: dict[str, type[MultiTaskModel]] = {
    "single_task": SingleTask,
    "shared_bottom": SharedBottom,
    "mmoe": MMoE,
    "ple": PLE,
    "adatt": AdaTT,
    "esmm": ESMM,
    "aitm": AITM,
    "htlnet": HTLNet,
}


def model_class(name: str) -> type[MultiTaskModel]:
    """The model of that name.

    Raises:
      InputError: There is none.
    """
    if name not in MODELS:
        raise InputError(f"model '{name}' is not known; there are {sorted(MODELS)}")
    return MODELS[name]


__all__ = [
    "AITM",
    "ESMM",
    "MODELS",
    "PLE",
    "AdaTT",
    "Ensemble",
    "HTLNet",
    "MMoE",
    "ModelOptions",
    "MultiTaskModel",
    "ScoringModel",
    "SharedBottom",
    "SingleTask",
    "model_class",
]
