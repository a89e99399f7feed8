"""Tests of worker/execution/."""
