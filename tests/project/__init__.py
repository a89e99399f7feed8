"""Tests of the repository itself: image, compose file, workflows, alerts, docs, warehouse."""
