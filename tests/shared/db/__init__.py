"""Tests of shared/db/."""
