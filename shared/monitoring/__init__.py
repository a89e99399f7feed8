"""The lm_* metrics: definitions, collection from the database and from many processes."""
