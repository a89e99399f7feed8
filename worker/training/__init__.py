"""Training: dataset, fit, calibration, thresholds, the run and its job."""
