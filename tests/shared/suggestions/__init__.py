"""Tests of shared/suggestions/."""
