"""Tests of shared/native/."""
