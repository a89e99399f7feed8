"""Canary and challenger: traffic split, statistics by arm, verdicts, confidence intervals."""
