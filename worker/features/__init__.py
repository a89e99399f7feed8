"""Builds `ml_features` and merchant priors."""
