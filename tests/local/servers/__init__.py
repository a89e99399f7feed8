"""Tests of local/servers/."""
