"""Tests of web/transactions/."""
