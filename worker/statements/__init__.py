"""Importing statements, and their annotated copies."""
