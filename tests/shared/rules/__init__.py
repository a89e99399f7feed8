"""Tests of shared/rules/."""
