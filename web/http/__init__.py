"""HTTP plumbing: parsing, problems, auth, sessions, OpenAPI, server, health."""
