"""Building ml_features and merchant_priors."""
