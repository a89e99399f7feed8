"""Tests of shared/experiments/."""
