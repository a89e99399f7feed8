"""`make demo` and its sample data."""
