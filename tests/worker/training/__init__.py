"""Tests of worker/training/."""
