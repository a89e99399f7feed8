"""Faults under load: every answer is checked, and what happened is held against a small model."""
