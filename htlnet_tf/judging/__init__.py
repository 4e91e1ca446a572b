"""How good scores are: exact metrics, reports, calibration, regret, attention."""
