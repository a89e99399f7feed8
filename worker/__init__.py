"""What only the workers do: import, feature build, training."""
