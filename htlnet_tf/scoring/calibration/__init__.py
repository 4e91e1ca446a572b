"""Calibration: a curve per target from predictions to those that leave the model, fitted on held-out rows."""

from __future__ import annotations

from htlnet_tf.scoring.calibration.calibration import Calibration
from htlnet_tf.scoring.calibration.curve import Curve
from htlnet_tf.scoring.calibration.settings import METHODS, CalibrationSettings

__all__ = ["METHODS", "Calibration", "CalibrationSettings", "Curve"]
