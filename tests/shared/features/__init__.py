"""Tests of shared/features/."""
