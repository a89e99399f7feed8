"""Faults under load: every answer is checked, and what happened is compared with a small model."""
