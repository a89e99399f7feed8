"""Our web process beside its floors and a peer."""
