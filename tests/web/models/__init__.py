"""Tests of web/models/."""
