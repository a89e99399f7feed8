"""What only the web process does: the HTTP API."""
