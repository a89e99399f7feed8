"""Tests of shared/registry/."""
