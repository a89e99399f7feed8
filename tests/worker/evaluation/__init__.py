"""Tests of worker/evaluation/."""
