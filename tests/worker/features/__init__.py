"""Tests of worker/features/."""
