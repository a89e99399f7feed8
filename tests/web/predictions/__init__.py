"""Tests of web/predictions/."""
