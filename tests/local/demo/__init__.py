"""Tests of local/demo/."""
