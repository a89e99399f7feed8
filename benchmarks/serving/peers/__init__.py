"""What runs in the peers' own environments."""
