"""POST /ml/v2/predict, its fast path, and explanations."""
