"""Helpers that tests of several packages share: servers, factories, tools."""
