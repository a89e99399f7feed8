"""Suggestions in bulk, rules applied in bulk, the canary guardrail."""
