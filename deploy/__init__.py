"""What only a deployment by containers needs."""
