"""Tests of shared/monitoring/."""
