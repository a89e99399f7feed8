"""PostgreSQL and Valkey from wheels, on one machine."""
