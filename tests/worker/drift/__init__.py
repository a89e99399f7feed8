"""Tests of worker/drift/."""
