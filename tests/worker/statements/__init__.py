"""Tests of worker/statements/."""
