"""PostgreSQL, Redis and the processes on one machine, without Docker."""
