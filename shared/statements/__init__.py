"""Bank statements: reading, parsing, preview, rejects, annotated copies, uploads."""
