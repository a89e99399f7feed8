"""Rules as data: schema, matcher, versioned store, YAML."""
