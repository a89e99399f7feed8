"""Tests of web/suggestions/."""
