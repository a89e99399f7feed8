"""Tests of shared/model/."""
