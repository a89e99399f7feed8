"""Suggestions, feedback, the review queue and rules, over HTTP."""
