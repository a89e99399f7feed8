"""Evaluation report, noise ceiling, calibration figures, promotion gate."""
