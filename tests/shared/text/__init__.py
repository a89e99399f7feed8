"""Tests of shared/text/."""
