"""Drift: traffic profiles, their comparison, the job, when to retrain."""
