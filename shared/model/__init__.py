"""Inference: candidate generation, reranking, calibration, thresholds, explanation."""
