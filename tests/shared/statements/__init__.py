"""Tests of shared/statements/."""
