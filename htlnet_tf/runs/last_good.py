"""What a training leaves that ended with a step that was not finite."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from htlnet_tf.errors import NonFiniteError
from htlnet_tf.manifest import sealed_directory
from htlnet_tf.models.scoring_model import ScoringModel
from htlnet_tf.runs.config import RunConfig
from htlnet_tf.runs.folder import save_model


def leave_last_good(config: RunConfig, model: ScoringModel, path: Path, error: NonFiniteError) -> NoReturn:
    """Writes configuration, encoder and weights, and raises the error with where they are.

    Args:
      config: Of the run.
      model: No strategy's, with the weights before the step.
      path: The folder; what is there is replaced.
      error: Of the step.

    Raises:
      NonFiniteError: Always.
    """
    with sealed_directory(path, overwrite=True) as stage:
        save_model(config, model, stage)
    raise NonFiniteError(f"{error}. The last good weights are in '{path}'") from None
