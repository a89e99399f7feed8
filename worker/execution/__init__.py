"""How a worker runs a claimed job: lease, recovery, heartbeats, schedule, services."""
