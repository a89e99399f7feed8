"""Tests of worker/suggestions/."""
